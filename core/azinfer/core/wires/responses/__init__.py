"""The Responses API as a wire."""

from azinfer.core.surfaces import RESPONSES
from azinfer.core.wires.responses.answer import decode
from azinfer.core.wires.responses.events import ResponsesReader
from azinfer.core.wires.responses.request import encode, mend
from azinfer.core.wires.wire import Wire

WIRE = Wire(
    name="responses",
    operation=RESPONSES,
    encode=encode,
    decode=decode,
    reader=ResponsesReader,
    mend=mend,
)
