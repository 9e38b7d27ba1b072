"""The tenants' servers, over HTTP: a body goes out, an answer comes back, and nothing is raised.

Each endpoint has a pool of connections of its own. A name is resolved when a connection is made, and the connection
goes to the addresses that were checked: a second answer of its DNS changes nothing. Redirects are not followed.
"""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpcore

from mailwarren.contracts.public_addresses import is_public
from mailwarren.tracker.domain.webhook_retries import Answer

KEPT_FOR = 4.0
"""Seconds that an idle connection is kept: shorter than servers keep theirs, or a request would meet one that is just
being closed."""
READ_MOST = 16 * 1024
"""Octets of an answer that are read; a connection with more is closed."""
SHOWN_MOST = 1000
"""Characters of an answer that are kept."""
TRIED_MOST = 3
"""Addresses of a name that are tried."""
RESOLVERS = 64
"""Threads that wait for the system's resolver: a name that does not answer holds one of them, for all who ask."""

Resolve = Callable[[str, int], Awaitable[list[str]]]
Headers = Sequence[tuple[bytes, bytes]]


class NotPublic(httpcore.ConnectError):
    """The name has an address that is not everybody's."""


class Names:
    """The system's resolver. Of one name there is one question at a time, however many ask."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(RESOLVERS, "resolver")
        self._asked: dict[tuple[str, int], asyncio.Future[list[Any]]] = {}

    async def __call__(self, host: str, port: int) -> list[str]:
        """All addresses of a host.

        Raises:
            OSError: there are none.
        """
        key = host, port
        asked = self._asked.get(key)
        if asked is None:
            loop = asyncio.get_running_loop()
            asked = loop.run_in_executor(self._threads, _addresses, host, port)
            self._asked[key] = asked
            asked.add_done_callback(lambda done: self._answered(key, done))
        found = await asyncio.shield(asked)
        return list(dict.fromkeys(str(item[4][0]) for item in found))

    def close(self) -> None:
        """Wait for nobody: a question may take half a minute."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _answered(self, key: tuple[str, int], done: "asyncio.Future[list[Any]]") -> None:
        self._asked.pop(key, None)
        if not done.cancelled():
            # Who asked may be gone by now: an error that nobody takes would be logged as a bug.
            done.exception()


class Receivers:
    """Sends to endpoints.

    Args:
        private: whether private addresses are connected to; for tests and closed networks.
        timeout: seconds for a try, from the resolver to the end of the answer.
        most: connections of one endpoint.
        resolver: the addresses of a host and port.
    """

    def __init__(self, *, private: bool, timeout: float, most: int, resolver: Resolve | None = None) -> None:
        self._names = Names()
        self._network = _Checked(resolver or self._names, private=private)
        self._timeout = timeout
        self._most = most
        self._context = httpcore.default_ssl_context()
        self._pools: dict[tuple[UUID, str], httpcore.AsyncConnectionPool] = {}
        self._busy: Counter[tuple[UUID, str]] = Counter()

    async def post(self, endpoint: UUID, url: str, headers: Headers, body: bytes) -> Answer:
        """What came of a POST."""
        began = time.perf_counter()
        self._busy[endpoint, url] += 1
        try:
            async with asyncio.timeout(self._timeout):
                status, text, retry_after = await self._post(endpoint, url, headers, body)
        except (TimeoutError, httpcore.TimeoutException):
            return _none(began, "timeout", f"no complete answer within {self._timeout:g} s")
        except NotPublic as error:
            return _none(began, "private", str(error))
        except (httpcore.ConnectError, OSError) as error:
            return _none(began, "unreachable", f"no connection: {error or type(error).__name__}")
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol, UnicodeError) as error:
            return _none(began, "protocol", f"no answer that can be read: {error or type(error).__name__}")
        finally:
            self._busy[endpoint, url] -= 1
        return Answer(status, text, duration=time.perf_counter() - began, retry_after=retry_after)

    async def keep_only(self, endpoints: Collection[tuple[UUID, str]]) -> None:
        """Close the connections of all others, but for those in use; each is an endpoint with its URL."""
        for key in self._pools.keys() - set(endpoints):
            if not self._busy[key]:
                del self._busy[key]
                await self._pools.pop(key).aclose()

    async def close(self) -> None:
        """Close all connections."""
        await self.keep_only(())
        self._names.close()

    async def _post(self, endpoint: UUID, url: str, headers: Headers, body: bytes) -> tuple[int, str, float | None]:
        host = urlsplit(url).netloc.encode("ascii")
        every = [(b"Host", host), (b"Content-Length", b"%d" % len(body)), *headers]
        async with self._pool(endpoint, url).stream("POST", url, headers=every, content=body) as response:
            read = b""
            async for block in response.aiter_stream():
                read += block
                if len(read) >= READ_MOST:
                    break
            return response.status, _shown(read), _retry_after(response.headers)

    def _pool(self, endpoint: UUID, url: str) -> httpcore.AsyncConnectionPool:
        pool = self._pools.get((endpoint, url))
        if pool is None:
            pool = self._pools[endpoint, url] = httpcore.AsyncConnectionPool(
                ssl_context=self._context,
                max_connections=self._most,
                keepalive_expiry=KEPT_FOR,
                network_backend=self._network,
            )
        return pool


class _Checked(httpcore.AsyncNetworkBackend):
    """Connects to addresses that are everybody's."""

    def __init__(self, resolver: Resolve, *, private: bool) -> None:
        self._resolve = resolver
        self._private = private
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first address of the host that takes one."""
        try:
            found = await self._resolve(host.strip("[]"), port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"the name {host} cannot be resolved: {error}") from error
        # All of them: a name with a public and a private address is no mistake.
        if not self._private and not all(is_public(ip_address(one.partition("%")[0])) for one in found):
            raise NotPublic(f"{host} has an address that is not public")
        trouble: Exception = httpcore.ConnectError(f"the name {host} has no address")
        for address in found[:TRIED_MOST]:
            try:
                return await self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except httpcore.ConnectError as error:
                trouble = error
        raise trouble

    async def sleep(self, seconds: float) -> None:
        """As httpcore asks."""
        await asyncio.sleep(seconds)


def _addresses(host: str, port: int) -> list[Any]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _none(began: float, trouble: str, text: str) -> Answer:
    return Answer(0, text[:SHOWN_MOST], trouble, time.perf_counter() - began)


def _shown(body: bytes) -> str:
    # Postgres has no NUL in texts.
    return body.decode("utf-8", "replace").replace("\0", "\ufffd")[:SHOWN_MOST]


def _retry_after(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    for name, value in headers:
        if name.lower() == b"retry-after" and value.isdigit() and len(value) < 10:  # noqa: PLR2004 - a sane number
            return float(value)
    return None
