"""Azure AI model deployments for LangChain and LangGraph: `pip install 'azinfer[langchain]'`."""

try:
    import langchain_core  # noqa: F401
except ModuleNotFoundError as error:
    from azinfer.core import missing_extra

    raise missing_extra("langchain", error) from error

from azinfer.langchain.chat import ChatAzInfer, init_chat_model
from azinfer.langchain.embeddings import AzInferEmbeddings, init_embeddings
from azinfer.langchain.rerank import AzInferRerank

__all__ = [
    "AzInferEmbeddings",
    "AzInferRerank",
    "ChatAzInfer",
    "init_chat_model",
    "init_embeddings",
]
