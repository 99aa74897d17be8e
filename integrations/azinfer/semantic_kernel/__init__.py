"""Azure AI deployments for Semantic Kernel: `pip install 'azinfer[semantic-kernel]'`."""

try:
    import semantic_kernel  # noqa: F401
except ModuleNotFoundError as error:
    from azinfer.core import missing_extra

    raise missing_extra("semantic-kernel", error) from error

from azinfer.semantic_kernel.chat import AzInferChatCompletion
from azinfer.semantic_kernel.completion import AzInferTextCompletion
from azinfer.semantic_kernel.embeddings import AzInferTextEmbedding
from azinfer.semantic_kernel.settings import (
    AzInferChatPromptExecutionSettings,
    AzInferEmbeddingPromptExecutionSettings,
)

__all__ = [
    "AzInferChatCompletion",
    "AzInferChatPromptExecutionSettings",
    "AzInferEmbeddingPromptExecutionSettings",
    "AzInferTextCompletion",
    "AzInferTextEmbedding",
]
