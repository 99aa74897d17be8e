"""The version of azinfer, said once."""

__version__ = "0.2.0"
