"""Ray Data embeds texts in two worker processes, one of which is killed in the middle.

`python ray_tour.py URL FOLDER`: the key is in AZURE_AI_API_KEY, and FOLDER is for a file that says
that a worker was killed. It prints JSON: the texts and their vectors, in the order of the input.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import ray  # type: ignore[import-not-found]

from azinfer.core import InferenceClient

ROWS, BATCH = 4000, 200


class Embed:
    """Embed the texts of a batch; an error is a value in its row."""

    def __init__(self, client: InferenceClient) -> None:
        self.client = client

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Add the columns vector and error."""
        results = list(self.client.embed_many(batch["text"].tolist(), concurrency=2))
        batch["vector"] = [result.value and list(result.value) for result in results]
        batch["error"] = [result.error and str(result.error) for result in results]
        return batch


class Killed(Embed):
    """The same in a worker that is killed once, after it has paid for a batch."""

    def __init__(self, client: InferenceClient, folder: Path) -> None:
        super().__init__(client)
        self._folder, self._batches = folder, 0

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Embed a batch, or end the process."""
        result = super().__call__(batch)
        self._batches += 1
        if self._batches == 3:
            try:
                (self._folder / "killed").open("x").close()
            except FileExistsError:
                return result
            os.kill(os.getpid(), signal.SIGKILL)
        return result


def main(url: str, folder: Path) -> None:
    """Run the work and write its result into the folder."""
    ray.init(
        num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20, log_to_driver=False
    )
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    client = InferenceClient(url, "env:AZURE_AI_API_KEY", "embed")
    texts = ray.data.from_items(
        [{"text": f"text {at}"} for at in range(ROWS)], override_num_blocks=20
    )
    vectors = texts.map_batches(
        Killed, fn_constructor_args=(client, folder), batch_size=BATCH, num_cpus=0.5, concurrency=2
    )
    rows = vectors.take_all()
    result = {
        "texts": [row["text"] for row in rows],
        "vectors": [list(map(float, row["vector"])) for row in rows],
        "errors": sum(row["error"] is not None for row in rows),
    }
    # Ray writes lines of its own to the output, also in the middle of ours: the result has a file.
    (folder / "result.json").write_text(json.dumps(result), "utf-8")
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
