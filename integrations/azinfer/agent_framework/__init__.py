"""Azure AI deployments for Microsoft Agent Framework: `pip install 'azinfer[agent-framework]'`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

try:
    import agent_framework  # noqa: F401
except ModuleNotFoundError as error:
    from azinfer.core import missing_extra

    raise missing_extra("agent-framework", error) from error

if TYPE_CHECKING:
    from azinfer.agent_framework.chat import AzInferChatClient
    from azinfer.agent_framework.embeddings import AzInferEmbeddingClient

__all__ = ["AzInferChatClient", "AzInferEmbeddingClient"]


def __getattr__(name: str) -> Any:
    """Import a client when it is first used, as the framework does with its own names."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room = "chat" if name == "AzInferChatClient" else "embeddings"
    return getattr(import_module(f"{__name__}.{room}"), name)
