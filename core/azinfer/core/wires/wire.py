"""A wire as a value: how a request becomes a body, and how a body becomes an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import NamedTuple

from azinfer.core import lazy
from azinfer.core.completions import ChatCompletion, Json
from azinfer.core.errors import ConfigurationError, InferenceError
from azinfer.core.model_catalog import ModelFacts
from azinfer.core.model_profiles import UNKNOWN, Profile
from azinfer.core.surfaces import WIRES, WireName

_NOTHING: Mapping[str, str] = MappingProxyType({})


class Situation(NamedTuple):
    """What an encoder needs to know besides the request.

    Attributes:
        stream: Whether the answer is requested as a stream.
        model_id: The model behind the deployment, if it is known.
        profile: What its family accepts.
        facts: Its row in the catalog.
        learned: The fields that it refused before, each with the name that it accepts, or "".
        resource: The resource that is called; only it can read what it encrypted.
        in_project: Whether the URL is a Foundry project's, which checks echoed items strictly.
        counts_usage: Whether a streamed chat asks for its usage.
        send_reasoning: Whether earlier reasoning is sent back on chat; None if the facts decide.
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
        body: The body, without the deployment's name.
        adapted: What was changed to suit the wire and the model.
        ours: Fields that the caller did not pass; they are left out if they are refused.
    """

    body: Json
    adapted: tuple[str, ...] = ()
    ours: frozenset[str] = frozenset()


class Mended(NamedTuple):
    """A body in another form, after the service refused the first.

    Attributes:
        body: The new body.
        change: What was changed.
        learned: What to remember about the model; empty if it is about this conversation only.
    """

    body: Json
    change: str
    learned: Mapping[str, str] = _NOTHING


class Wire(NamedTuple):
    """One form in which a service accepts a conversation and answers it.

    Attributes:
        name: Its name, as for `wire=`.
        operation: Its path below the base of a surface that has it.
        encode: Creates a body from a request in our schema.
        decode: Creates the answer from a complete body; arguments as for `decode_completion`.
        reader: Creates the reader of a streamed answer from the arguments of a StreamReader.
        mend: Creates another body after a refusal; None if nothing can be done.
        headers: Sent with every request.
    """

    name: WireName
    operation: str
    encode: Callable[[Json, Situation], Encoded]
    decode: Callable[..., ChatCompletion]
    reader: Callable[..., lazy.StreamReader]
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
