"""Errors from elsewhere that interrupt an operation."""

from __future__ import annotations

from collections.abc import Iterable
from types import CodeType, FrameType

_VARARGS = 0x04  # of co_flags. Source: the documentation of `inspect`, "Code Objects Bit Flags".


def is_interruption(error: BaseException, callbacks: Iterable[CodeType] = ()) -> bool:
    """Return True if a signal handler raised an error, or one of some callbacks.

    Their errors may be of any class, also of those that sockets raise, but they are not failures
    of the operation that they interrupted: they pass through, and nothing is tried again.

    Args:
        error: The error that was caught.
        callbacks: The code of functions whose errors, and those of all that they call, are not
            failures of the operation either.
    """
    step, caller = error.__traceback__, None
    while step is not None:
        frame = step.tb_frame
        if frame.f_code in callbacks or (caller is not None and _is_handler(frame, caller)):
            return True
        step, caller = step.tb_next, frame
    return False


def _is_handler(frame: FrameType, caller: FrameType) -> bool:
    """Return True for the frame of a signal handler: an argument is the interrupted frame."""
    code, values = frame.f_code, frame.f_locals
    rest = bool(code.co_flags & _VARARGS)
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + rest]
    arguments = [values.get(name) for name in names]
    # Compared by identity: `==` would run the methods of whatever the arguments are.
    return any(
        any(each is caller for each in (argument if type(argument) is tuple else (argument,)))
        for argument in arguments
    )
