"""Anthropic Messages, which serve Claude on a Foundry resource, as a wire."""

from azinfer.core.surfaces import MESSAGES
from azinfer.core.wires.messages.answer import decode
from azinfer.core.wires.messages.events import MessagesReader
from azinfer.core.wires.messages.request import encode, mend
from azinfer.core.wires.wire import Wire

WIRE = Wire(
    name="messages",
    operation=MESSAGES,
    encode=encode,
    decode=decode,
    reader=MessagesReader,
    mend=mend,
    headers=(("anthropic-version", "2023-06-01"),),
)
