"""Detours: where else a call can go after a refusal: another wire, or another route."""

from __future__ import annotations

from azinfer.core.calls import Call, T
from azinfer.core.completions import Json
from azinfer.core.error_responses import with_advice
from azinfer.core.errors import ConfigurationError, InferenceError
from azinfer.core.wires.selection import Choice, is_missing, wire_after


def detour(
    call: Call[T], error: InferenceError, body: Json, tried: dict[str, str]
) -> tuple[Call[T], str] | None:
    """Return the same call for another place and what changed, or None if there is none.

    If the last place refuses it too, the answer of the first is added to the error's message.

    Args:
        call: The call that was refused.
        error: The refusal.
        body: What was sent.
        tried: The places that were tried before and what they answered; this one is added.
    """
    if call.beside is not None:
        return _beside(call, error, tried)
    if call.on_wire is None:
        for operation in tried if is_missing(error) else ():
            _add_answer(error, f"The route {operation}", tried[operation])
        return None
    target, before = call.target, call.choice.wire or ""
    if call.choice.source == "declared":
        return None
    wire = wire_after(error, call.choice.wire, target.model_id or target.model, body)
    if wire in tried:
        _add_answer(error, f"The {wire} wire", tried[wire])
    if wire is None or wire in tried:
        return None
    try:
        other = call.on_wire(Choice(wire, "learned"))
    except ConfigurationError as obstacle:
        error.message = with_advice(error.message, obstacle.message)
        return None
    tried |= {wire: "", before: error.message}
    return other, f"wire {before} → {wire}"


def _beside(
    call: Call[T], error: InferenceError, tried: dict[str, str]
) -> tuple[Call[T], str] | None:
    """Return the call for the other route of the resource, if this one does not exist."""
    if call.beside is None or not is_missing(error):
        return None
    other = call.beside()
    tried[call.target.operation] = error.message
    return other, f"{call.target.operation} → {other.target.operation}"


def _add_answer(error: InferenceError, place: str, answer: str) -> None:
    error.message = with_advice(error.message, f"{place} answered: {answer}")
