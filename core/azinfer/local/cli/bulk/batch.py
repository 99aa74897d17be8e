"""`azinfer batch`: prompts as batches of the service, within a day and at a lower price."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Any, BinaryIO

import msgspec

from azinfer.core import ConfigurationError, InferenceClient
from azinfer.core.batch_requests import write_lines
from azinfer.core.batches import Batch
from azinfer.local.cli.bulk.batch_fetch import fetch_part
from azinfer.local.cli.bulk.batch_job import NAMES, STATE, BatchJob, Part
from azinfer.local.cli.bulk.complete import request_of
from azinfer.local.cli.bulk.inputs import Input, Row, Tally, open_input
from azinfer.local.cli.bulk.outputs import open_output
from azinfer.local.cli.option_errors import OptionError
from azinfer.local.cli.output import say, table, width, write, write_json

# "Batch" of "Azure OpenAI quotas and limits": the most of one input file.
_MOST_REQUESTS, _MOST_BYTES = 100_000, 200_000_000
_ROOM = 10_000_000  # bytes for the last request of a file
_MOST_SHOWN = 10
_COLUMNS = ("file", "batch", "status", "requests", "completed", "failed")


def prepare(
    client: InferenceClient,
    folder: Path,
    source: Input,
    system: str | None,
    options: Mapping[str, Any],
) -> None:
    """Write the input files of a new job.

    Args:
        client: Its `model` is the deployment; nothing is sent.
        folder: The folder for the job; it must be new or empty.
        source: The prompts.
        system: The system message, sent before each prompt.
        options: Parameters of chat completions, such as `max_tokens`.

    Raises:
        ConfigurationError: The folder has files, there is no prompt, or one cannot be in a batch.
    """
    source = open_input(source)
    if client.model is None:
        raise OptionError("choose the deployment for the batch with --model")
    tally = Tally()
    with _new_folder(folder) as unfinished:
        job = BatchJob(unfinished, client.model, sources=source.places())
        with (unfinished / NAMES).open("wb") as names:
            requests = _requests(source.rows(tally), names, system, options)
            _write_parts(client, job, requests)
        job.save()
    if tally.skipped:
        say(str(tally))
    total = sum(part.requests for part in job.parts)
    following = f"azinfer batch submit {quote(str(folder))}"
    write(f"{total:,} requests in {len(job.parts)} files of {folder}; `{following}` next")


def submit(client: InferenceClient, folder: Path, *, retry_failed: bool, as_json: bool) -> bool:
    """Upload the input files that are not submitted yet, and begin their batches.

    Args:
        client: Sends them.
        folder: The job.
        retry_failed: Whether requests that failed are submitted once more.
        as_json: Whether to print the job as JSON.

    Returns:
        Whether no batch has failed already, apart from those whose results are fetched.
    """
    with BatchJob.lock(folder) as job:
        if retry_failed:
            _prepare_failed(client, job)
        for part in job.parts:
            if part.batch_id is None:
                _submit_part(client, job, part)
        batches = _show(client, job, as_json=as_json)
        return not any(batch.ended and batch.status != "completed" for batch in batches)


def watch(client: InferenceClient, folder: Path, *, as_json: bool) -> bool:
    """Wait until every batch of a job has ended.

    Returns:
        Whether all are completed, apart from those whose results are fetched.
    """
    job = BatchJob.open(folder)
    for part in _submitted_parts(job):
        client.batches.wait(part.batch_id or "", on_progress=_report(part))
    batches = _show(client, job, as_json=as_json)
    return all(batch.status == "completed" for batch in batches)


def fetch(
    client: InferenceClient, folder: Path, output: Path | None, *, force: bool = False
) -> bool:
    """Write the results of a job in the order of its input; return whether there are no failures.

    Args:
        client: Reads them.
        folder: The job.
        output: The file to write; None for lines on the standard output.
        force: Whether it may replace a file that is not the output of an earlier run.

    Raises:
        ConfigurationError: A batch has not ended, or a file would be lost.
    """
    with BatchJob.lock(folder) as job:
        if output is not None:
            job.check_output(output, force=force)
        failures = _write_results(client, job, output)
        with job.results() as results:
            again, final = results.failed_positions()
        if output is not None:
            job.add_output(output)
    _say_all(failures)
    if failures:
        say(f"{len(failures):,} failed{_advice(folder, len(again), final)}")
    return not failures


def _write_results(client: InferenceClient, job: BatchJob, output: Path | None) -> list[str]:
    """Fetch what is not fetched yet, and write all results; return a line for each failure."""
    target = open_output(output, "complete")
    try:
        with job.results() as results:
            for part in _submitted_parts(job):
                if not part.fetched:
                    fetch_part(client, job, part, results)
            with (job.folder / NAMES).open("rb") as lines:
                count = sum(1 for _ in lines)
                results.add_missing(range(count), "its batch has no result for it")
                lines.seek(0)
                names = map(msgspec.json.decode, lines)
                failures = _write_records(iter(results), names, target)
        target.finish()
    except BaseException:
        target.abandon()
        raise
    return failures


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder whose files move into a new or empty one at the end, if there is no error.

    So neither a mistake in the input nor a kill leaves half a job, which would be in the way.
    """
    unfinished, is_new = folder / ".unfinished", not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(unfinished, ignore_errors=True)
        if any(folder.iterdir()):
            raise ConfigurationError(f"{folder} is not empty: use another folder for the job")
        unfinished.mkdir()
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be created: {error.strerror}") from None
    try:
        yield unfinished
        # The state comes last, as it makes the folder a job.
        for path in sorted(unfinished.iterdir(), key=lambda path: path.name == STATE):
            path.rename(folder / path.name)
        unfinished.rmdir()
    except BaseException:
        shutil.rmtree(unfinished)
        if is_new:
            folder.rmdir()
        raise


def _requests(
    rows: Iterable[Row], names: BinaryIO, system: str | None, options: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield requests with their position as id, and store the ids of the input."""
    for at, row in enumerate(rows):
        names.write(msgspec.json.encode([row.index, row.id]) + b"\n")
        request = request_of(system, row.item)
        own = dict(request) if isinstance(request, Mapping) else {"messages": request}
        yield {**options, **own, "id": str(at)}


def _write_parts(
    client: InferenceClient, job: BatchJob, requests: Iterator[dict[str, Any]]
) -> None:
    """Write requests into files that are as large as the service accepts."""
    following = next(requests, None)
    while following is not None:
        name = f"{len(job.parts) + 1:04}.jsonl"
        count = 0

        def some(file: BinaryIO) -> Iterator[dict[str, Any]]:
            nonlocal following, count
            while following is not None and count < _MOST_REQUESTS:
                yield following
                count, following = count + 1, next(requests, None)
                if file.tell() > _MOST_BYTES - _ROOM:
                    return

        with (job.folder / name).open("wb") as file:
            operation = write_lines(client, some(file), job.model, file)
        job.parts.append(Part(name, count, operation))


def _submit_part(client: InferenceClient, job: BatchJob, part: Part) -> None:
    """Upload an input file and begin its batch, unless an earlier run did."""
    batch = None
    if part.file_id is None:
        file = client.files.upload(job.path_of(part))
        part.file_id = file.id
        job.save()
    else:  # an earlier run may have been killed just before it could store the batch
        batch, file = _batch_of(client, part.file_id), client.files.get(part.file_id)
    batch = batch or client.batches.create(file, endpoint=part.operation)
    part.batch_id = batch.id
    job.save()


def _prepare_failed(client: InferenceClient, job: BatchJob) -> None:
    """Add a file with the requests that failed, unless one waits to be submitted.

    Raises:
        ConfigurationError: A batch has not ended, or there is nothing to send again.
    """
    if any(part.batch_id is None for part in job.parts):
        return
    with job.results() as results:
        for part in job.parts:
            if not part.fetched:
                fetch_part(client, job, part, results)
        failed, final = results.failed_positions()
    if not failed:
        reason = f"{final:,} requests of {job.folder} failed{_advice(job.folder, 0, final)}"
        raise ConfigurationError(reason if final else f"no request of {job.folder} has failed")
    name, operation = f"{len(job.parts) + 1:04}.jsonl", job.parts[0].operation
    left = set(failed)
    with (job.folder / name).open("wb") as file:
        for part in job.parts:
            with job.path_of(part).open("rb") as lines:
                for line in lines:
                    at = int(msgspec.json.decode(line)["custom_id"])
                    if at in left:
                        left.remove(at)
                        file.write(line)
    job.parts.append(Part(name, len(failed), operation))
    job.save()


def _advice(folder: Path, again: int, final: int) -> str:
    """Return what to do about failures, as the end of a sentence."""
    text = ""
    if again:
        which = f"{again:,} of them" if final else "them"
        text = f"; `azinfer batch submit {quote(str(folder))} --retry-failed` sends {which} again"
    if final:
        which = "the others" if again else "they"
        text += (
            f"; {which} would fail again, as the service refuses what they contain: change these "
            "prompts or their options in a new job"
        )
    return text


def _batch_of(client: InferenceClient, file_id: str) -> Batch | None:
    """Return the batch of an input file, if there is one."""
    batches = client.batches.list()
    return next((each for each in batches if each.raw.get("input_file_id") == file_id), None)


def _submitted_parts(job: BatchJob) -> list[Part]:
    """Return the parts of a job, all of which have a batch.

    Raises:
        ConfigurationError: One has no batch.
    """
    if any(part.batch_id is None for part in job.parts):
        raise ConfigurationError(
            f"{job.folder} is not submitted; `azinfer batch submit {job.folder}` does it"
        )
    return job.parts


def _write_records(
    records: Iterator[tuple[int, dict[str, Any]]], names: Iterable[Any], target: Any
) -> list[str]:
    """Write records with their positions and names; return a line for each failure."""
    failures = []
    for (at, record), name in zip(records, names, strict=True):  # each position has a record
        # Jobs of earlier versions have the id alone, which is a text or null.
        index, key = name if isinstance(name, list) else (at, name)
        known = {} if key is None else {"id": key}
        target.write({"index": index, **known, **record})
        if "error" in record:
            label = "" if key is None else f" ({key})"
            failures.append(f"request {index:,}{label}: {record['error']}")
    return failures


def _say_all(lines: list[str]) -> None:
    """Print the first lines, and how many more there are."""
    for line in lines[:_MOST_SHOWN]:
        say(line)
    if len(lines) > _MOST_SHOWN:
        say(f"and {len(lines) - _MOST_SHOWN:,} more")


def _report(part: Part) -> Any:
    """Return a function that prints each change of a batch in a terminal."""
    last = ""

    def report(batch: Batch) -> None:
        nonlocal last
        line = f"{part.name}: {batch.status}, {batch.completed:,} of {batch.total:,}"
        if line != last and sys.stderr.isatty():
            say(line)
        last = line

    return report


def _show(client: InferenceClient, job: BatchJob, *, as_json: bool) -> list[Batch]:
    """Print the batches of a job; return those whose results are not fetched."""
    batches = [client.batches.get(part.batch_id or "") for part in job.parts]
    facts = [
        {
            "file": part.name,
            "batch": batch.id,
            "status": batch.status,
            "requests": part.requests,
            "completed": batch.completed,
            "failed": batch.failed,
            "errors": list(batch.errors),
        }
        for part, batch in zip(job.parts, batches, strict=True)
    ]
    if as_json:
        write_json(facts)
    else:
        rows = [[str(each[name]) for name in _COLUMNS] for each in facts]
        for line in table(_COLUMNS, rows, width()):
            write(line)
    pairs = [pair for pair in zip(job.parts, batches, strict=True) if not pair[0].fetched]
    for part, batch in pairs:
        _say_all([f"{part.name}: {reason}" for reason in batch.errors])
    return [batch for _, batch in pairs]
