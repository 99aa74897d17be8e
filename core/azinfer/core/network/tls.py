"""TLS: which certificates are trusted."""

from __future__ import annotations

import ssl
from functools import lru_cache

import certifi

from azinfer.core.errors import ConfigurationError
from azinfer.core.interruptions import is_interruption
from azinfer.core.network.address import TLS_VARIABLES, Origin

# What a socket that does not block raises where it would; TLS may have to read before it writes.
WANTS_TO_READ = ssl.SSLWantReadError
BLOCKED = (BlockingIOError, WANTS_TO_READ, ssl.SSLWantWriteError)


def context_of(origin: Origin) -> ssl.SSLContext | None:
    """Return the TLS context for connections to an origin, or None for plain HTTP."""
    if origin.settings is None or not origin.url.startswith("https:"):
        return None
    return tls_context(origin.settings)


@lru_cache(maxsize=8)
def tls_context(settings: tuple[str | None, ...]) -> ssl.SSLContext:
    """Return a context that trusts the certificates in the settings, or certifi's.

    Args:
        settings: The values of TLS_VARIABLES; the last one names a folder.

    Raises:
        ConfigurationError: The certificates cannot be read.
    """
    # Reading the certificates takes 100 ms: it is done once in a process.
    *files, folder = settings
    file = next(filter(None, files), None) or folder
    try:
        if file and file == folder:
            context = ssl.create_default_context(capath=folder)
        else:
            context = ssl.create_default_context(cafile=file or certifi.where())
    except OSError as error:
        if is_interruption(error):
            raise
        raise ConfigurationError(
            f"the certificates in {file} (from {', '.join(TLS_VARIABLES)}) cannot be read: {error}"
        ) from None
    context.set_alpn_protocols(["http/1.1"])
    return context
