"""TLS: certificates and contexts."""

from __future__ import annotations

import ssl
from functools import lru_cache

import certifi

from azinfer.core.errors import ConfigurationError
from azinfer.core.network.address import TLS_VARIABLES, Place


def tls_of(place: Place) -> ssl.SSLContext | None:
    """What a connection to a place is encrypted with, if at all."""
    if place.settings is None or not place.origin.startswith("https:"):
        return None
    return tls(place.settings)


@lru_cache(maxsize=8)
def tls(settings: tuple[str | None, ...]) -> ssl.SSLContext:
    """The certificates that settings name, or else certifi's.

    Raises:
        ConfigurationError: They cannot be read.
    """
    # Reading the certificates takes 100 ms: once a process, and not at all for plain HTTP.
    *files, folder = settings
    file = next(filter(None, files), None) or folder
    try:
        if file and file == folder:
            context = ssl.create_default_context(capath=folder)
        else:
            context = ssl.create_default_context(cafile=file or certifi.where())
    except OSError as error:
        raise ConfigurationError(
            f"the certificates in {file} (from {', '.join(TLS_VARIABLES)}) cannot be read: {error}"
        ) from None
    context.set_alpn_protocols(["http/1.1"])
    return context
