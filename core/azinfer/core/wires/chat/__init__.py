"""Chat completions, which every endpoint has, as a wire; its schema is ours."""

from azinfer.core.decoding import decode_completion
from azinfer.core.streaming import ChatReader
from azinfer.core.surfaces import CHAT
from azinfer.core.wires.chat.request import encode, mend
from azinfer.core.wires.wire import Wire

WIRE = Wire(
    name="chat",
    operation=CHAT,
    encode=encode,
    decode=decode_completion,
    reader=ChatReader,
    mend=mend,
)
