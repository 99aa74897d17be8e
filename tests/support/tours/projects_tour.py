"""azure-ai-projects: the OpenAI client of a project, and its list of deployments."""

from __future__ import annotations

import time
import warnings
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own, when it is imported
    from azure.ai.projects import AIProjectClient
from azure.core.credentials import AccessToken
from tour import ASK, USER, take


class Credential:
    """A credential whose token is a key."""

    def __init__(self, key: str) -> None:
        self._key = key

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """A token."""
        return AccessToken(self._key, int(time.time()) + 3600)


def project(url: str, key: str) -> AIProjectClient:
    """The project."""
    credential: Any = Credential(key)
    return AIProjectClient(endpoint=f"{url}/api/projects/p", credential=credential)


def openai_client(url: str, key: str) -> None:
    """Chats, responses and models by the project's own OpenAI client."""
    with project(url, key) as request, request.get_openai_client() as client:
        answer = client.chat.completions.create(model="fixed", messages=USER)
        assert answer.choices[0].message.content == "Paris."
        assert client.responses.create(model="fixed", input=ASK).output_text == "Paris."
        assert len(client.embeddings.create(model="embed", input="a").data[0].embedding) == 8


def deployments(url: str, key: str) -> None:
    """Read the list and one entry; the pipeline must be allowed to work without TLS."""
    options: dict[str, Any] = {} if url.startswith("https") else {"enforce_https": False}
    with project(url, key) as request:
        results = [each.name for each in request.deployments.list(**options)]
        assert {"Mistral-Large", "fixed", "embed"} <= set(results)
        deployment: Any = request.deployments.get("mistral-large", **options)
        assert (deployment.model_name, deployment.sku.name) == (
            "mistral-large-2411",
            "GlobalStandard",
        )


if __name__ == "__main__":
    take(["azure-ai-projects"], {"OpenAI client": openai_client, "deployments": deployments})
