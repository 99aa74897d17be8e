"""Programs of other packages for Azure, rewritten for azinfer: `pip install 'azinfer[migrate]'`.

It reads azure-ai-inference, `AzureOpenAI` and `OpenAI` on Azure, langchain-azure-ai, LlamaIndex's
and Semantic Kernel's classes for Azure, and litellm's `azure/…`. The command is `azinfer migrate`.

Modules, each of which imports only those before it: `report`, `rules` (tables), `program` (where
names come from), `bindings`, `kind_tables` and `kinds` (what expressions are), `context`, `quotes`,
then the modules that rewrite: `dictionaries`, `constructors`, `dumps`, `methods`, `model_objects`,
`litellm_calls`, `imports`, `unused_imports`, `mocks` and `notes`, and `rewriter`, which runs all
of them.
"""

try:
    import libcst  # noqa: F401
except ModuleNotFoundError as error:
    from azinfer.core import missing_extra

    raise missing_extra("migrate", error) from error

from azinfer.migrate.report import Migration, Problem
from azinfer.migrate.rewriter import migrate_source

__all__ = ["Migration", "Problem", "migrate_source"]
