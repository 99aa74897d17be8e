"""The network: everything that touches a socket.

**What it is for.** Give a `Transport` or an `AsyncTransport` a `Request` and a deadline, and it
returns an `OpenResponse` whose body can be read, or raises an InferenceError. Nothing outside this
package opens a socket, and other modules import only the names of `__all__`.

**Why it exists.** Measured in November 2026 under the rest of azinfer unchanged, in CPU time of
one chat call, where httpx with a faster JSON parser is 1 (sync code; async code with 16 calls at
once; ± 20 %):

    this package    0.26    0.12        urllib3 2.8     0.83    -
    pyreqwest 0.15  0.50    0.16        httpx2 2.16     1.06    0.61
    pyqwest 0.12    0.67    0.21        httpx 0.28      1.29    0.60
    aiohttp 3.14    -       0.23

None of the faster ones keeps the promises below: pyreqwest loses forks, cancelling, Ctrl-C, the
kinds of errors and the idle timeout of a call; aiohttp the write timeout and SOCKS proxies;
urllib3 the total deadline. HTTP/1.1 itself is parsed by httptools.

**What it promises.**

* Every wait ends: connecting, sending, each read, and all of them together have limits.
* One request, one response: a connection on which anything unexpected came is never used again,
  and a response that carries the id of another request is refused.
* Nothing is sent twice here, no redirect is followed, and no cookie is kept.
* A body is never larger than 128 MiB once decoded, and compression bombs are refused.
* Connections are shared by all clients of a process or event loop, and never between processes
  (after a fork) or loops. They close by themselves with the last client, or with the loop.
* Cancelling a task, leaving a stream early and dropping it close its connection.
* Proxies of the environment, and an httpx client of the caller, are used through httpx.

**Where things are.** From the bottom to the top:

    upload              a body that is read while it is sent
    request             the request, as a value
    address, tls        what a URL means for the network; which certificates are trusted
    http1               HTTP/1.1 without I/O
    pool                which connections there are, and who shares them
    connection          a socket of sync code
    async_connection    its twin for async code
    httpx_connection    the same through httpx, for both
    body                decoding a body, and the limits of its size
    exceptions          failures of sockets and libraries as errors of azinfer
    transport           the two transports

A connection has five methods, `is_stale`, `send`, `read`, `release` and `close`; another library
could take its place there. The tests are in `tests/core/network` and `tests/faults`.
"""

from azinfer.core.network.request import Request, SharedHeaders
from azinfer.core.network.transport import AsyncTransport, OpenResponse, Transport
from azinfer.core.network.upload import Progress, Upload

__all__ = [
    "AsyncTransport",
    "OpenResponse",
    "Progress",
    "Request",
    "SharedHeaders",
    "Transport",
    "Upload",
]
