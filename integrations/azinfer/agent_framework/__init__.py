"""Azure AI deployments for Microsoft Agent Framework: `pip install 'azinfer[agent-framework]'`."""

try:
    import agent_framework  # noqa: F401
except ModuleNotFoundError as error:
    from azinfer.core import missing_extra

    raise missing_extra("agent-framework", error) from error

from azinfer.agent_framework.chat import AzInferChatClient
from azinfer.agent_framework.embeddings import AzInferEmbeddingClient

__all__ = ["AzInferChatClient", "AzInferEmbeddingClient"]
