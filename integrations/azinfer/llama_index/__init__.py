"""Azure AI model deployments for LlamaIndex: `pip install 'azinfer[llama-index]'`."""

try:
    import llama_index.core  # noqa: F401
except ModuleNotFoundError as error:
    from azinfer.core import missing_extra

    raise missing_extra("llama-index", error) from error

from azinfer.llama_index.chat import AzInferLLM
from azinfer.llama_index.embeddings import AzInferEmbedding, AzInferImageEmbedding
from azinfer.llama_index.rerank import AzInferRerank

__all__ = ["AzInferEmbedding", "AzInferImageEmbedding", "AzInferLLM", "AzInferRerank"]
