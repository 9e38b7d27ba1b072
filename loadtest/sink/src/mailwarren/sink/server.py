"""The sink put together: listeners, HTTP side, store and script; ``running_sink`` for tests."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

import msgspec

from mailwarren.sink.http_server import HttpServer
from mailwarren.sink.persona import Tls
from mailwarren.sink.protocol import Listener, SmtpProtocol, shown_address
from mailwarren.sink.receiver import Receiver
from mailwarren.sink.script import Script, ScriptSource
from mailwarren.sink.store import Mode, Stats, Store
from mailwarren.sink.visit import Host
from mailwarren.sink.web import build_app

if TYPE_CHECKING:
    from mailwarren.sink.certificates import Certificates

_BACKLOG = 4096  # connections that may wait to be accepted: load tests open thousands at once
_FAREWELL_S = 1.0  # for open connections to take their 421


class Addresses(msgspec.Struct, frozen=True):
    """Where a running sink listens: ``host:port`` of SMTP, URL of HTTP (empty without it), ``mx`` by name."""

    smtp: str
    http: str
    smtp_extra: tuple[str, ...] = ()
    mx: dict[str, str] = {}


class AddressError(ValueError):
    """Not ``host:port``."""


def parse_address(text: str) -> tuple[str, int]:
    """Split ``host:port`` (IPv6 in brackets); port 0 lets the system choose.

    Raises:
        AddressError: it has no host, or no port in 0..65535.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isdecimal() and int(port) <= 65_535):  # noqa: PLR2004
        raise AddressError(f"{text!r} is not HOST:PORT")
    return host, int(port)


def listen(text: str) -> socket.socket:
    """A socket bound to ``host:port``.

    Raises:
        AddressError: not an address.
        OSError: it can't be bound.
    """
    host, port = parse_address(text)
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise OSError(error.errno, f"cannot listen on {text}: {error.strerror}") from error
    return bound


def _shown(bound: socket.socket) -> str:
    return shown_address(*bound.getsockname()[:2])


class Sink:
    """A sink: ``start`` it, read its ``store``, ``play`` scripts, ``stop`` it.

    Args:
        script: what its personas answer; the empty script takes every mail.
        keep: raw mails kept for reading.
        mode: how much is kept of what arrives.
        tls: context that STARTTLS is offered with; or True: with certificates of the sink's own authority.
        credentials: (user, password) that AUTH is offered with, and required.
        hostname: said in the greeting.

    Raises:
        ScriptError: the script can't be played.
    """

    def __init__(
        self,
        *,
        script: ScriptSource | None = None,
        keep: int = 20_000,
        mode: Mode = Mode.FULL,
        tls: ssl.SSLContext | Literal[True] | None = None,
        credentials: tuple[str, str] | None = None,
        hostname: str = "sink.mailwarren.test",
    ) -> None:
        user_password = None
        if credentials:
            user_password = (credentials[0].encode(), credentials[1].encode())
        self._receiver = Receiver(
            store=Store(keep, mode),
            script=script,
            hostname=hostname,
            offers_tls=tls is not None,
            credentials=user_password,
        )
        self._hostname = hostname
        self._tls = None if tls is True else tls
        self._certificates: Certificates | None = None
        self._listeners: list[Listener] = []
        self._servers: list[asyncio.Server] = []
        self._http: HttpServer | None = None
        self.addresses = Addresses("", "")

    @property
    def store(self) -> Store:
        """The records, the counts and the kept mails."""
        return self._receiver.store

    @property
    def script(self) -> Script:
        """What is played now."""
        return self._receiver.script

    @property
    def certificates(self) -> "Certificates":
        """The sink's own authority, made when first asked for."""
        if self._certificates is None:
            # Most sinks need none, and to load cryptography takes longer than all else that a start does.
            from mailwarren.sink.certificates import Certificates

            self._certificates = Certificates(self._hostname)
        return self._certificates

    @property
    def smtp_host(self) -> str:
        """The address that SMTP listens on."""
        return parse_address(self.addresses.smtp)[0]

    @property
    def smtp_port(self) -> int:
        """The port that SMTP listens on."""
        return parse_address(self.addresses.smtp)[1]

    def play(self, script: ScriptSource) -> Script:
        """Replace the script. Attempts and greylisting begin anew; transactions under way end as they began.

        Raises:
            ScriptError: it can't be played; the old one goes on.
        """
        return self._receiver.play(script)

    def forget(self) -> int:
        """Empty the store, and what the script remembers of earlier attempts; returns the number of mails forgotten."""
        return self._receiver.forget()

    async def start(
        self,
        *,
        smtp: str = "127.0.0.1:0",
        smtp_extra: Sequence[str] = (),
        mx: Mapping[str, str] | None = None,
        http: str | None = "127.0.0.1:0",
    ) -> Addresses:
        """Listen. Each SMTP address is a server of its own for ``connection_cap``.

        Args:
            smtp: the first address.
            smtp_extra: more of them.
            mx: more of them that have a name of their own, by name.
            http: where counts are read; may be left out.

        Raises:
            AddressError: not an address.
            OSError: an address can't be bound; nothing listens then.
        """
        loop = asyncio.get_running_loop()
        unnamed, named = [smtp, *smtp_extra], dict(mx or {})
        with contextlib.ExitStack() as sockets:
            bound = [sockets.enter_context(listen(text)) for text in (*unnamed, *named.values())]
            bound_http = sockets.enter_context(listen(http)) if http is not None else None
            sockets.pop_all()
        for one, name in zip(bound, [*[""] * len(unnamed), *named], strict=True):
            listener = Listener(self._receiver, self._context, name)
            self._listeners.append(listener)
            server = await loop.create_server(partial(SmtpProtocol, listener), sock=one, backlog=_BACKLOG)
            self._servers.append(server)
        url = ""
        if bound_http is not None:
            url = f"http://{_shown(bound_http)}"
            self._http = HttpServer(build_app(self._receiver, lambda: self.certificates))
            await self._http.start(bound_http)
        shown = [_shown(one) for one in bound]
        extra, of_names = shown[1 : len(unnamed)], shown[len(unnamed) :]
        self.addresses = Addresses(shown[0], url, tuple(extra), dict(zip(named, of_names, strict=True)))
        return self.addresses

    def _context(self, kind: Tls, host: Host) -> ssl.SSLContext:
        if self._tls is not None and kind in {Tls.DEFAULT, Tls.VALID}:
            return self._tls
        return self.certificates.context(kind, host)

    async def stop(self) -> None:
        """Say 421 to who is connected, and close. The store stays readable."""
        for server in self._servers:
            server.close()
        for listener in self._listeners:
            for connection in list(listener.open):
                connection.shut_down()
        deadline = asyncio.get_running_loop().time() + _FAREWELL_S
        while self.store.connections_open and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        for listener in self._listeners:
            for connection in list(listener.open):
                connection.cut(reset=False)
        if self._http:
            await self._http.stop()
        self._http = None
        self._servers.clear()
        self._listeners.clear()

    async def wait_until(self, reached: Callable[[Stats], bool], *, within: float = 10.0) -> Stats:
        """Wait until the counts satisfy ``reached``; returns them.

        Raises:
            TimeoutError: they did not in ``within`` seconds; the message has the counts.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        while not reached(stats := self.store.stats()):
            if loop.time() > deadline:
                raise TimeoutError(f"the sink did not get there in {within} s: {stats}")
            await asyncio.sleep(0.01)
        return stats


@contextlib.asynccontextmanager
async def running_sink(
    *,
    script: ScriptSource | None = None,
    smtp: str = "127.0.0.1:0",
    smtp_extra: Sequence[str] = (),
    mx: Mapping[str, str] | None = None,
    http: str | None = "127.0.0.1:0",
    tls: ssl.SSLContext | Literal[True] | None = None,
    credentials: tuple[str, str] | None = None,
    keep: int = 20_000,
    mode: Mode = Mode.FULL,
) -> AsyncIterator[Sink]:
    """A sink in the running loop, stopped at the end; arguments as for ``Sink`` and ``Sink.start``."""
    sink = Sink(script=script, keep=keep, mode=mode, tls=tls, credentials=credentials)
    await sink.start(smtp=smtp, smtp_extra=smtp_extra, mx=mx, http=http)
    try:
        yield sink
    finally:
        await sink.stop()
