"""Routes of many processes that share limits, breakers and learned facts through Redis.

`pip install 'azinfer[redis]'`, and in `azinfer.toml`:

    [shared]
    redis = "env:REDIS_URL"        # or redis://host:6379/0; also prefix, timeout (0.2 s)

Each process leases a part of what the limits of a deployment still allow, several times a second
while it sends calls, and not for each call. If the server is missing, every process counts by
itself, and no call fails because of that.
"""

from __future__ import annotations

import importlib.util

if importlib.util.find_spec("redis") is None:
    from azinfer.core import missing_extra

    raise missing_extra("redis", ModuleNotFoundError(name="redis"))

from azinfer.redis.sharing import RedisSharing

__all__ = ["RedisSharing"]
