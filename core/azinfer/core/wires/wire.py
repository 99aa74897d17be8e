"""A wire as a value: how a request becomes a body, and a body an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import NamedTuple

from azinfer.core.completions import ChatCompletion, Json
from azinfer.core.errors import ConfigurationError, InferenceError
from azinfer.core.model_catalog import ModelFacts
from azinfer.core.model_profiles import UNKNOWN, Profile
from azinfer.core.stream_reader import StreamReader
from azinfer.core.surfaces import WIRES, WireName

_NOTHING: Mapping[str, str] = MappingProxyType({})


class Situation(NamedTuple):
    """What an encoder needs to know besides the request.

    Attributes:
        stream: Whether the answer is to come in chunks.
        model_id: The model behind the deployment, where that is known.
        profile: What its family takes.
        facts: Its row in the catalog.
        learned: What it refused before: a field's name to the one it takes instead, or "".
        resource: The resource that is called; what one resource encrypted, no other can read.
        in_project: Whether the URL is a Foundry project's, which checks echoed items strictly.
        counts_usage: Whether a streamed chat is to ask for its usage.
        send_reasoning: Whether earlier reasoning goes back on chat; None leaves it to the facts.
    """

    stream: bool = False
    model_id: str | None = None
    profile: Profile = UNKNOWN
    facts: ModelFacts | None = None
    learned: Mapping[str, str] = _NOTHING
    resource: str = ""
    in_project: bool = False
    counts_usage: bool = False
    send_reasoning: bool | None = None


class Encoded(NamedTuple):
    """A request as it is sent.

    Attributes:
        body: What is sent, without the deployment's name.
        adapted: What was changed to suit the wire and the model.
        ours: Fields that the caller did not give, which are left out if they are refused.
    """

    body: Json
    adapted: tuple[str, ...] = ()
    ours: frozenset[str] = frozenset()


class Mended(NamedTuple):
    """A body in another form, after the service refused the first.

    Attributes:
        body: What is sent instead.
        change: What was changed.
        learned: What to remember of the model; empty where only this conversation is concerned.
    """

    body: Json
    change: str
    learned: Mapping[str, str] = _NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """One form in which a service takes a conversation and answers it.

    Attributes:
        name: The name by which it is asked for.
        operation: What follows the base of a surface that has it.
        encode: Makes a body of a request in our schema.
        decode: Makes the answer of a whole body; its arguments are those of `decode_completion`.
        reader: Makes what reads a streamed answer, of the arguments of a StreamReader.
        mend: Makes another body after a refusal; None where nothing can be done.
        headers: Sent with every request.
    """

    name: WireName
    operation: str
    encode: Callable[[Json, Situation], Encoded]
    decode: Callable[..., ChatCompletion]
    reader: Callable[..., StreamReader]
    mend: Callable[[Json, InferenceError], Mended | None]
    headers: tuple[tuple[str, str], ...] = ()


@cache
def wire_named(name: str) -> Wire:
    """Return the wire with this name, loading it if it is the first use.

    Raises:
        ConfigurationError: There is no such wire.
    """
    if name not in WIRES:
        raise ConfigurationError(f"wire={name!r} is unknown; choose from {', '.join(WIRES)}")
    wire: Wire = import_module(f"azinfer.core.wires.{name}").WIRE
    return wire
