"""The version of azinfer; no other file repeats it."""

__version__ = "0.2.0"
