"""A key that must appear nowhere, faults that echo it, and places where an error may show it."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from html import escape
from urllib.parse import quote

from raw_server import Behaviour, events, failure, part, raw, reply, stream

# With characters that JSON, URLs and HTML write in another way.
MARKER = 'mk-9f3b/"7c21&e8d4\\5a60+b1'
START = MARKER[:8]

ECHO = f"The key {MARKER} is not valid."
NESTED = failure(
    "x", ECHO, param=MARKER, details=[{"loc": [MARKER], "msg": ECHO, "input": [MARKER]}]
)
ECHOES: dict[str, Behaviour] = {
    f"{status} {name}": reply(body, status, {"x-echo": MARKER, "x-request-id": MARKER})
    for status in (200, 400, 401, 404, 429, 500)
    for name, body in {
        "in JSON": NESTED,
        "as text": ECHO,
        "in a URL": f"https://a.example/?key={quote(MARKER, safe='')}",
        "in HTML": f"<p>{escape(MARKER)}</p>",
        "cut": "x" * (980 - len("The key ")) + ECHO,
        "cut in the start of what is no JSON": "x" * 185 + MARKER,
    }.items()
}
BROKEN: dict[str, Behaviour] = {
    "a reset": raw(b"", "reset"),
    "no HTTP": raw(b"SSH-2.0\r\n\r\n"),
    "silence": raw(b"", "stall"),
    "silence after headers": raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", "stall"),
    "a cut body": raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab"),
    "a redirect": reply("", 307, {"location": f"https://a.example/{quote(MARKER)}"}),
    "an error inside a stream": stream(events(part("a"), failure("x", ECHO))),
    "a stream that breaks": stream(events(part("a"), done=False)),
    "an odd event": stream(events(part("a"), MARKER, done=False)),
}
FAULTS = {**ECHOES, **BROKEN}


def is_ours(path: str) -> bool:
    """Return True for a file of azinfer."""
    return "/azinfer/" in path


def visible_texts(error: BaseException, counts: Callable[[str], bool] = is_ours) -> dict[str, str]:
    """Return each text that may show an error, with the variables of the frames that count."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    reports, frames = [report], []
    while reports:
        each = reports.pop()
        frames += [frame for frame in each.stack if counts(frame.filename)]
        reports += [more for more in (each.__cause__, each.__context__) if more]
    texts = {
        f"{at} {frame.name}: {name}": text
        for at, frame in enumerate(frames)
        for name, text in (frame.locals or {}).items()
    }
    texts |= {"str": str(error), "repr": repr(error), "args": repr(error.args)}
    texts["fields"] = repr(vars(error))
    texts["cause"] = repr(error.__cause__) + repr(error.__context__)
    try:
        texts["pickle"] = pickle.dumps(error).decode("latin-1")
    except Exception as refusal:  # some frameworks' errors cannot be pickled
        texts["refusal of a pickle"] = repr(refusal)
    return texts


def leaks_of(error: BaseException, counts: Callable[[str], bool] = is_ours) -> list[str]:
    """Return the texts of an error that show the key or its beginning."""
    return [place for place, text in visible_texts(error, counts).items() if START in text]
