"""The version of azinfer, which no other file repeats, and how adapters name themselves."""

from functools import lru_cache

__version__ = "0.2.0"


@lru_cache
def user_agent(package: str) -> str:
    """Return the User-Agent of an adapter: azinfer and the framework, with their versions.

    Args:
        package: The distribution of the framework, for example `"langchain-core"`.
    """
    from importlib.metadata import version  # slow to import, and needed by adapters alone

    return f"azinfer/{__version__} {package}/{version(package)}"
