"""The results of one batch: answers, and errors with whether a retry can mend them."""

from __future__ import annotations

from shlex import quote

import msgspec

from azinfer.core import ConfigurationError, ContentFilterError, InferenceClient, InferenceError
from azinfer.core.batches import Batch
from azinfer.core.json_fields import as_object, as_objects
from azinfer.local.cli.bulk.batch_job import BatchJob, Part, Results
from azinfer.local.cli.bulk.complete import record_of

# The service refuses the request itself. Others depend on time, quotas, rights or deployments.
_REFUSED = frozenset({400, 413, 415, 422})


def fetch_part(client: InferenceClient, job: BatchJob, part: Part, results: Results) -> None:
    """Store the results of one batch, which has ended.

    Raises:
        ConfigurationError: It has not ended.
    """
    batch = client.batches.get(part.batch_id or "")
    if not batch.ended:
        raise ConfigurationError(
            f"batch {batch.id} of {part.name} is {batch.status}, {batch.completed:,} of "
            f"{batch.total:,}: `azinfer batch watch {quote(str(job.folder))}` waits for its end"
        )
    seen = set()
    # After a failed validation there is no file, and the uploaded input may be deleted by now.
    has_results = any(batch.raw.get(name) for name in ("output_file_id", "error_file_id"))
    for result in client.batches.results(batch.id) if has_results else ():
        seen.add(at := int(result.id))
        if result.completion is not None:
            results.put(at, record_of(result.completion))
        elif result.error is not None:
            results.put_error(at, str(result.error), is_final=_is_final(result.error))
    if batch.status != "completed":
        _store_end(batch, job, part, results, seen)
    results.commit()
    part.fetched = True
    job.save()


def _store_end(batch: Batch, job: BatchJob, part: Part, results: Results, seen: set[int]) -> None:
    """Store why requests have no result: their own line, or another one that stopped the batch."""
    entries = as_objects(as_object(batch.raw.get("errors")).get("data"))
    reasons = {entry.get("line"): text for entry, text in zip(entries, batch.errors, strict=True)}
    ended = f"its batch ended as {batch.status!r}"
    shared = f": {batch.errors[0]}" if batch.errors else ""
    if reasons and None not in reasons:  # only lines are wrong
        shared = f" because of other requests, of which the first is {batch.errors[0]}"
    with job.path_of(part).open("rb") as lines:
        for number, line in enumerate(lines, 1):
            at = int(msgspec.json.decode(line)["custom_id"])
            if at not in seen:
                own = reasons.get(number)
                text = f"{ended}{shared}" if own is None else f"{ended}: {own}"
                results.put_error(at, text, is_final=own is not None)


def _is_final(error: InferenceError) -> bool:
    """Return whether the same request would fail again."""
    return isinstance(error, ContentFilterError) or error.status in _REFUSED
