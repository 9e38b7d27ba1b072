"""A mail server whose every answer can be scripted, and pools that must leave nothing open."""

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from mailwarren.sender.smtp import (
    ClientSettings,
    Envelope,
    Host,
    Pool,
    Result,
    Site,
    Timeouts,
    TlsContexts,
    prepare_data,
)

MESSAGE = b"Subject: hello\r\n\r\nHow are you?\n.hidden dot\n"
QUICK = Timeouts(
    connect=2.0, tls=2.0, greeting=2.0, command=2.0, data_block=2.0, final_dot=2.0, quit=0.5
)  # a test that hangs fails soon


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], Any]]:
    """Everything here must hold on both loops: uvloop in production, asyncio where there is none."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


DROP = "drop"
HANG = "hang"
Answer = str | Callable[["Session"], str]


@dataclass
class Session:
    """One connection as the server saw it; ``number`` counts from 1."""

    number: int
    tls: bool = False
    mails: int = 0
    verb: str = ""
    argument: str = ""


@dataclass
class Mail:
    sender: str
    recipient: str
    data: bytes
    session: int
    tls: bool


@dataclass
class ScriptedServer:
    """Answers as it should, except where ``answers`` says otherwise: by verb, or GREETING and DOT.

    An answer is the text of the reply (several lines with ``\\n``, CRLF is added), ``DROP`` to close, ``HANG`` to say
    nothing more, or a function of the session that returns one of these.
    """

    answers: dict[str, Answer] = field(default_factory=dict)
    extensions: tuple[str, ...] = ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 1000000", "ENHANCEDSTATUSCODES")
    context: ssl.SSLContext | None = None
    implicit_tls: bool = False
    before_greeting: Callable[[Session], Awaitable[None]] | None = None
    before_data: Callable[[Session], Awaitable[None]] | None = None
    port: int = 0
    address: str = "127.0.0.1"
    mails: list[Mail] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    open: int = 0
    peak: int = 0
    overlapped: bool = False  # a command was already there when the one before it was answered
    interrupted: int = 0  # connections that ended between DATA and the final dot
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    async def start(self) -> "ScriptedServer":
        self._server = await asyncio.start_server(
            self._serve, self.address, self.port, ssl=self.context if self.implicit_tls else None, limit=2**20
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._server = None

    def site(self, **changes: Any) -> Site:
        options: dict[str, Any] = {"name": "scripted", "hosts": (Host("localhost", self.port, self.address),)}
        return Site(**(options | changes))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        session = Session(len(self.sessions) + 1, tls=self.implicit_tls)
        self.sessions.append(session)
        self.open += 1
        self.peak = max(self.peak, self.open)
        try:
            await _Talk(self, session, reader, writer).run()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            self.open -= 1
            with contextlib.suppress(Exception):
                writer.transport.abort()


class _Hangup(ConnectionError):
    """The script closes the connection."""


class _Talk:
    def __init__(
        self, server: ScriptedServer, session: Session, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.server, self.session, self.reader, self.writer = server, session, reader, writer
        self.sender = self.recipient = ""

    async def run(self) -> None:
        if self.server.before_greeting is not None:
            await self.server.before_greeting(self.session)
        await self.say("GREETING", "220 scripted ESMTP")
        while True:
            line = (await self.reader.readuntil(b"\n")).decode().rstrip("\r\n")
            self.server.commands.append(line)
            verb, _, self.session.argument = line.partition(" ")
            self.session.verb = verb.upper()
            await self.command(self.session.verb, self.session.argument)

    async def command(self, verb: str, argument: str) -> None:
        if verb == "EHLO":
            starttls = ("STARTTLS",) if self.server.context and not self.session.tls else ()
            lines = ("scripted", *self.server.extensions, *starttls)
            text = "\n".join(f"250{'-' if n < len(lines) else ' '}{line}" for n, line in enumerate(lines, 1))
            await self.say(verb, text)
        elif verb == "MAIL":
            usual = "503 5.5.1 nested MAIL" if self.sender else "250 2.1.0 ok"
            if (await self.say(verb, usual)).startswith("2"):
                self.sender = argument
        elif verb == "RCPT":
            if (await self.say(verb, "250 2.1.5 ok" if self.sender else "503 5.5.1 MAIL first")).startswith("2"):
                self.recipient = argument
        elif verb == "DATA":
            usual = "354 go ahead" if self.recipient else "503 5.5.1 RCPT first"
            if (await self.say(verb, usual)).startswith("3"):
                await self.data()
        elif verb == "RSET":
            self.sender = self.recipient = ""
            await self.say(verb, "250 2.0.0 ok")
        elif verb == "STARTTLS":
            if (await self.say(verb, "220 2.0.0 go ahead")).startswith("2"):
                assert self.server.context is not None
                await self.writer.start_tls(self.server.context)
                self.session.tls = True
        elif verb == "QUIT":
            await self.say(verb, "221 2.0.0 bye")
            raise _Hangup
        else:
            await self.say(verb, "250 2.0.0 ok" if verb == "HELO" else "502 5.5.1 what?")

    async def data(self) -> None:
        if self.server.before_data is not None:
            await self.server.before_data(self.session)
        data = bytearray()
        try:
            while not data.endswith(b"\r\n.\r\n") and data != b".\r\n":
                data += await self.reader.readuntil(b"\n")
        except (ConnectionError, asyncio.IncompleteReadError):
            self.server.interrupted += 1
            raise
        self.session.verb = "DOT"
        self.session.mails += 1
        if (await self.say("DOT", "250 2.0.0 queued")).startswith("2"):
            mail = Mail(self.sender, self.recipient, bytes(data), self.session.number, self.session.tls)
            self.server.mails.append(mail)
        self.sender = self.recipient = ""

    async def say(self, verb: str, usual: str) -> str:
        answer = self.server.answers.get(verb, usual)
        text = answer(self.session) if callable(answer) else answer
        if text == DROP:
            raise _Hangup
        if text == HANG:
            while await self.reader.read(65536):
                pass
            raise _Hangup
        if verb in {"MAIL", "RCPT"}:
            await asyncio.sleep(0)
            self.server.overlapped |= bool(self.reader._buffer)  # type: ignore[attr-defined]
        self.writer.write(text.replace("\n", "\r\n").encode() + b"\r\n")
        await self.writer.drain()
        return text


@cache
def _contexts(ca_file: Path | None) -> TlsContexts:
    return TlsContexts(ca_file)


def _sockets() -> int:
    found = 0
    for fd in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with contextlib.suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")  # noqa: PTH115
    return found


@pytest.fixture(autouse=True)
async def nothing_leaks() -> AsyncIterator[None]:
    """Every socket that a test opened is closed when its pools and servers are."""
    before = _sockets()
    yield
    for _ in range(100):
        if _sockets() <= before:
            break
        await asyncio.sleep(0.01)
    assert _sockets() <= before


@pytest.fixture
async def server(nothing_leaks: None) -> AsyncIterator[Callable[..., Awaitable[ScriptedServer]]]:
    """Start a scripted server: ``await server(answers={"RCPT": "550 5.1.1 no"})``."""
    started: list[ScriptedServer] = []

    async def start(**options: Any) -> ScriptedServer:
        started.append(await ScriptedServer(**options).start())
        return started[-1]

    yield start
    for one in started:
        await one.stop()


@pytest.fixture
async def make_pool(nothing_leaks: None) -> AsyncIterator[Callable[..., Pool]]:
    """Make a pool with short timeouts: ``make_pool(timeouts=…, ca_file=…)``; it is closed after the test."""
    pools: list[Pool] = []

    def make(timeouts: Timeouts = QUICK, ca_file: Path | None = None, **options: Any) -> Pool:
        settings = ClientSettings("sender.example", _contexts(ca_file), timeouts)
        pools.append(Pool(settings, **options))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.close(1.0)
        assert pool.stats().sites == ()


@pytest.fixture
def pool(make_pool: Callable[..., Pool]) -> Pool:
    return make_pool()


@pytest.fixture
def send(pool: Pool) -> Callable[..., Awaitable[Result]]:
    """Send one mail to a scripted server: ``await send(server, recipient=…, may_send=…, tls=…)``."""

    async def send(
        to: ScriptedServer,
        *,
        message: bytes = MESSAGE,
        sender: str = "a@sender.example",
        recipient: str = "b@rcpt.example",
        may_send: Callable[[], bool] = lambda: True,
        through: Pool | None = None,
        **site: Any,
    ) -> Result:
        envelope = Envelope(sender, recipient)
        return await (through or pool).send(to.site(**site), envelope, prepare_data(message), may_send)

    return send


@dataclass
class Authority:
    """A certificate authority of the test's own, with server contexts for names."""

    ca: trustme.CA
    ca_file: Path

    def context(self, *names: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*names).configure_cert(context)
        return context


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    ca = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return Authority(ca, path)


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Wait until something holds: ``await until(lambda: target.open == 0)``."""

    async def wait(condition: Callable[[], bool]) -> None:
        for _ in range(200):
            if condition():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it did not happen within two seconds")

    return wait
