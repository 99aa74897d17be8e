"""`azinfer embed` and `azinfer complete`: read items, send them, and write their results.

With `--output`, every finished request is stored in a checkpoint next to the output, so that
`--resume` continues after a kill. The output itself is written again from the checkpoint, so it is
always complete.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azinfer.core import ConfigurationError, InferenceClient, InferenceError
from azinfer.core.bulk import BulkProgress, BulkResult, BulkResults, Job, estimate
from azinfer.local.cli.bulk.checkpoints import clear, delete, refuse_if_in_use
from azinfer.local.cli.bulk.inputs import Input, Tally, check_format, open_input
from azinfer.local.cli.bulk.outputs import Output, check_ending, open_output
from azinfer.local.cli.bulk.prices import read_price
from azinfer.local.cli.bulk.progress import Bar, duration
from azinfer.local.cli.bulk.receipts import Fingerprint, read_receipt, write_receipt
from azinfer.local.cli.clients import deployment_for
from azinfer.local.cli.doctor import deployments_of
from azinfer.local.cli.error_messages import describe as describe_error
from azinfer.local.cli.file_writing import refuse_inputs
from azinfer.local.cli.option_errors import OptionError
from azinfer.local.cli.output import say, write, write_json

_OPERATIONS = {"embed": "embeddings", "complete": "chat/completions"}
_USUAL_ANSWER = 500  # tokens that an estimate assumes for an answer without a limit
_MOST_SHOWN = 10  # failures that are printed
# Files beside the output: the half of it that is written, and the checkpoint.
_BESIDE = (".part", ".checkpoint", ".checkpoint-wal", ".checkpoint-shm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The options that both commands have.

    Attributes:
        source: The input.
        output: The file to write; None for the standard output.
        resume: Whether to continue after an interrupted run.
        force: Whether to replace an output.
        keep_checkpoint: Whether the checkpoint stays, so that a longer input can be continued.
        concurrency: The number of requests at once; None if it is to be found.
        patience: Seconds without success after which the run ends.
        dry_run: Whether to only count.
        prices: A file with prices, for the estimate.
        as_json: Whether to print a summary as JSON.
    """

    source: Input
    output: Path | None = None
    resume: bool = False
    force: bool = False
    keep_checkpoint: bool = False
    concurrency: int | None = None
    patience: float = 600.0
    dry_run: bool = False
    prices: Path | None = None
    as_json: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """The differences between the two commands.

    Attributes:
        kind: `"embed"` or `"complete"`.
        what: The name of the items.
        item: Returns the text or request for an item of the input.
        job: The job, for the estimate.
        begin: Begins the work, with the items and the options that both have.
        record: Returns the fields of a value in the output.
    """

    kind: str
    what: str
    item: Callable[[Any], Any]
    job: Job[Any, Any]
    begin: Callable[..., BulkResults[Any, Any]]
    record: Callable[[Any], Mapping[str, Any]]


def check_options(options: Mapping[str, Any], kind: str) -> None:
    """Check what options are by themselves, before anything is read or sent.

    Args:
        options: The options of the command, by their names.
        kind: `"embed"` or `"complete"`.

    Raises:
        OptionError: A value is not valid, or an option lacks another one.
    """
    check_format(options["format"])
    concurrency = options["concurrency"]
    if concurrency != "auto" and not (concurrency.isdecimal() and int(concurrency)):
        raise OptionError(f"--concurrency must be auto or a number above 0, not {concurrency!r}")
    if not options["patience"] > 0:
        raise OptionError(f"--patience must be above 0, not {options['patience']:g}")
    if options["prices"] is not None and not options["dry_run"]:
        raise OptionError("--prices is for --dry-run, which estimates what the work costs")
    if options["output"] is not None:
        check_ending(options["output"], kind)
    elif options["resume"]:
        raise OptionError("--resume continues the work for a file: pass --output FILE")


def choose_model(client: InferenceClient, *, embeddings: bool) -> str:
    """Return the deployment to call, after listing the deployments, which shows its limits.

    Raises:
        ConfigurationError: The user must choose.
    """
    if client.model is None:
        return deployment_for(client, deployments_of(client, None), embeddings=embeddings)
    with suppress(InferenceError):  # otherwise requests are as large as an unknown model accepts
        deployments_of(client, None)
    return client.model


def run(client: InferenceClient, model: str, command: Command, settings: Settings) -> bool:
    """Run a command; return whether every item has a value.

    Args:
        client: Sends the requests.
        model: The deployment.
        command: The command.
        settings: Its options.

    Raises:
        InferenceError: The work cannot begin, or cannot continue.
    """
    source = open_input(settings.source)
    refuse_inputs(settings.output, source.files, *_BESIDE)
    if settings.dry_run:
        _show_estimate(client, model, command, settings, source)
        return True
    if settings.resume and settings.output is not None and _is_complete(settings.output):
        _check_input(settings.output, command, source)
        say(f"{settings.output} is complete; --force starts again")
        return True
    checkpoint = _prepare_checkpoint(settings)
    items = _Items(command, source, Fingerprint(command.job.work))
    results: BulkResults[Any, Any] | None = None
    try:
        with Bar(command.what) as bar:
            # This locks the checkpoint, so it comes before the output of a run that may go on.
            results = command.begin(
                items,
                concurrency=settings.concurrency,
                checkpoint=checkpoint,
                on_progress=bar.show,
                total=_count(source) if bar.is_visible else None,
                patience=settings.patience,
            )
            failures = _write_all(results, items, settings)
    except BaseException:  # here, as the end of the bar clears what is printed before
        if checkpoint is not None and results is not None:
            _keep_or_delete(checkpoint, settings.resume or bool(results.progress.done))
        raise
    if checkpoint is not None and settings.output is not None and not failures:
        write_receipt(settings.output, items.fingerprint)
        if not settings.keep_checkpoint:
            delete(checkpoint)
    _summarise(items, settings, results.progress, failures)
    return not failures


@dataclass
class _Items:
    """The items that are under way: their positions and ids, until their results come."""

    command: Command
    source: Input
    fingerprint: Fingerprint
    places: deque[tuple[int, Any]] = field(default_factory=deque)
    tally: Tally = field(default_factory=Tally)

    def __iter__(self) -> Iterator[Any]:
        for row in self.source.rows(self.tally):
            self.places.append((row.index, row.id))
            item = self.command.item(row.item)
            self.fingerprint.add(item)
            yield item


def _write_all(
    results: BulkResults[Any, Any], items: _Items, settings: Settings
) -> list[tuple[int, InferenceError]]:
    """Write every result; return the positions and errors of those without a value."""
    with results:
        output = open_output(settings.output, items.command.kind)
        try:
            return _write_each(results, items, output)
        except BaseException:
            output.abandon()
            raise


def _keep_or_delete(checkpoint: Path, has_results: bool) -> None:
    if has_results:
        say(f"the finished part is in {checkpoint}; --resume continues")
    else:  # this run created it, and it is empty
        delete(checkpoint)


def _write_each(
    results: BulkResults[Any, Any], items: _Items, output: Output
) -> list[tuple[int, InferenceError]]:
    failures: list[tuple[int, InferenceError]] = []
    for result in results:
        at, name = items.places.popleft()
        output.write(_record(at, name, result, items.command))
        if result.error is not None:
            failures.append((at, result.error))
    output.finish()
    return failures


def _record(at: int, name: Any, result: BulkResult[Any, Any], command: Command) -> dict[str, Any]:
    """Return the record of a result in the output, with the position and the id of its item."""
    record: dict[str, Any] = {"index": at}
    if name is not None:
        record["id"] = name
    if result.error is not None:
        return {**record, "error": str(result.error)}
    return {**record, **command.record(result.value)}


def _is_complete(output: Path) -> bool:
    return output.exists() and not _checkpoint_of(output).exists()


def _check_input(output: Path, command: Command, source: Input) -> None:
    """Check that a complete output is from this input.

    Raises:
        ConfigurationError: It is from another one, or nobody knows.
    """
    count, known = read_receipt(output) or (None, "")
    if count is None:
        raise ConfigurationError(
            f"{output} exists without a checkpoint, and it is unknown which input it is from: use "
            "another file, or --force to start again"
        )
    fingerprint, same = Fingerprint(command.job.work), False
    for row in source.rows():
        fingerprint.add(command.item(row.item))
        same = same or (fingerprint.items == count and fingerprint.value == known)
    if not same:
        raise ConfigurationError(
            f"{output} is complete, but for another input, endpoint, model or other options: use "
            "another file, or --force to start again"
        )
    if more := fingerprint.items - count:
        raise ConfigurationError(
            f"{output} is complete for the first {count:,} {command.what}, and the input has "
            f"{more:,} more: pass only those, with another --output, or --force to start again "
            "(with --keep-checkpoint, --resume could continue)"
        )


def _checkpoint_of(output: Path) -> Path:
    return output.with_name(f"{output.name}.checkpoint")


def _prepare_checkpoint(settings: Settings) -> Path | None:
    """Return the checkpoint of the output, new or to be continued.

    Raises:
        ConfigurationError: The output or the checkpoint would be lost.
    """
    output = settings.output
    if output is None:
        return None
    if not output.parent.is_dir():
        raise ConfigurationError(f"{output} cannot be written: {output.parent} is not a folder")
    checkpoint = _checkpoint_of(output)
    if settings.force and not settings.resume:
        clear(checkpoint)
        return checkpoint
    if checkpoint.exists() and not settings.resume:
        refuse_if_in_use(checkpoint)
        raise ConfigurationError(
            f"{checkpoint} has the results of an earlier run: --resume continues it, --force "
            "starts again"
        )
    if output.exists() and not settings.resume:
        raise ConfigurationError(f"{output} exists: use another file, or pass --force")
    return checkpoint


def _count(source: Input) -> int | None:
    """Return the number of items, if the input can be read twice."""
    if any(name == "-" or not Path(name).is_file() for name in source.files):
        return None
    return sum(1 for _ in source.rows())


def _show_estimate(
    client: InferenceClient, model: str, command: Command, settings: Settings, source: Input
) -> None:
    """Print an estimate of the work, without sending anything."""
    tally = Tally()
    result = estimate(command.job, (command.item(row.item) for row in source.rows(tally)))
    answers = result.answer_tokens + result.unlimited * _USUAL_ANSWER
    tokens = result.input_tokens + answers
    facts: dict[str, Any] = {
        "deployment": model,
        command.what: result.items,
        "requests": result.requests,
        "tokens": tokens,
    }
    optional = {
        "skipped": tally.skipped,
        "answer_tokens": answers,
        "assumed_tokens_per_answer": _USUAL_ANSWER if result.unlimited else 0,
    }
    facts |= {name: value for name, value in optional.items() if value}
    if settings.prices is not None:
        model_id = client.explain(_OPERATIONS[command.kind], model=model).model_id
        price = read_price(settings.prices, model, model_id)
        facts["cost"] = round(price.cost(result.input_tokens, answers), 6)
        facts["currency"] = price.currency
    if settings.as_json:
        write_json(facts)
        return
    write(f"{result.items:,} {command.what} in {result.requests:,} requests to {model}")
    limit = f", of which {answers:,} for the answers" if answers else ""
    write(f"about {tokens:,} tokens{limit}")
    if result.unlimited:
        write(
            f"answers without a limit: {result.unlimited:,}, with {_USUAL_ANSWER} tokens assumed "
            "for each; --max-tokens sets one"
        )
    _say_skipped(tally)
    if "cost" in facts:
        write(f"about {facts['cost']:,.2f} {facts['currency']}".rstrip())


def _say_skipped(tally: Tally) -> None:
    if tally.skipped:
        say(str(tally))


def _summarise(
    items: _Items,
    settings: Settings,
    progress: BulkProgress,
    failures: list[tuple[int, InferenceError]],
) -> None:
    """Print failures and what was skipped, and in a terminal or as JSON a summary."""
    _say_skipped(items.tally)
    for at, error in failures[:_MOST_SHOWN]:
        say(f"item {at:,}: {describe_error(error)}")
    if failures:
        again = "; --resume tries them again" if settings.output else ""
        say(f"{len(failures):,} of {progress.done + progress.failed:,} failed{again}")
    if settings.output is None:
        return
    if settings.as_json:
        facts = {"output": str(settings.output), "skipped": items.tally.skipped}
        write_json({**facts, **_facts(progress)})
    elif sys.stderr.isatty():
        done = f"{progress.done:,} {items.command.what} in {settings.output}"
        resumed = f", {progress.resumed:,} of them from an earlier run" if progress.resumed else ""
        say(f"{done}{resumed}: {progress.tokens:,} tokens, {duration(progress.seconds)}")


def _facts(progress: BulkProgress) -> dict[str, Any]:
    names = ("done", "failed", "resumed", "requests", "refused", "tokens", "seconds")
    return {name: getattr(progress, name) for name in names}
