"""Azure AI model deployments for AG2: `pip install 'azinfer[ag2]'`."""

try:
    import ag2  # noqa: F401
except ModuleNotFoundError as error:
    from azinfer.core import missing_extra

    raise missing_extra("ag2", error) from error

from azinfer.ag2.chat import AzInferClient
from azinfer.ag2.classic_client import AzInferModelClient
from azinfer.ag2.config import AzInferConfig

__all__ = ["AzInferClient", "AzInferConfig", "AzInferModelClient"]
