"""A process to be killed: it answers the first lines of a batch and then stops answering.

`python batch_server.py DIRECTORY ANSWERED` prints its address; its key is `local-key`.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from azinfer.local import LocalDeployment, LocalEndpoint, Prompt, SyntheticEngine


class Stalling(SyntheticEngine):
    """An engine that answers so many times."""

    def __init__(self, times: int) -> None:
        super().__init__("before")
        self._left = times

    async def chat(self, prompt: Prompt) -> Any:
        """Answer, or wait for ever."""
        if self._left <= 0:
            await asyncio.Event().wait()
        self._left -= 1
        async for piece in super().chat(prompt):
            yield piece


if __name__ == "__main__":
    deployment = LocalDeployment("chat", engine=Stalling(int(sys.argv[2])))
    with LocalEndpoint([deployment], key="local-key", data=sys.argv[1]) as endpoint:
        print(endpoint.url, flush=True)  # noqa: T201
        endpoint.wait()
