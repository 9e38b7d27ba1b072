"""From a host to a connection that is ready for mail: TCP, greeting, EHLO, STARTTLS, AUTH."""

import asyncio
import base64
import socket
import ssl
from dataclasses import dataclass, field, replace

from mailwarren.contracts.reply import Command
from mailwarren.sender.smtp.capabilities import Capabilities, parse_capabilities
from mailwarren.sender.smtp.connection import Connection
from mailwarren.sender.smtp.dialogue import SERVICE_CLOSING
from mailwarren.sender.smtp.replies import RawReply, to_reply
from mailwarren.sender.smtp.result import Failure, NoSession, Unreachable, UnreachableKind
from mailwarren.sender.smtp.site import Auth, Host, Site, TlsMode
from mailwarren.sender.smtp.timeouts import Timeouts
from mailwarren.sender.smtp.tls import TlsContexts
from mailwarren.sender.smtp.wire import TLS_SHUTDOWN, SessionFailedError, describe

_POSITIVE = range(200, 300)
_CONTINUE = 334
_PERMANENT = range(500, 600)


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What is the same for all connections of a process.

    Attributes:
        helo_name: Our name in EHLO: a host name that resolves to the address we send from (RFC 5321 §4.1.1.1).
        contexts: TLS contexts.
        timeouts: Seconds per stage.

    Raises:
        ValueError: ``helo_name`` holds spaces, control characters or characters outside ASCII.
    """

    helo_name: str
    contexts: TlsContexts
    timeouts: Timeouts = field(default_factory=Timeouts)

    def __post_init__(self) -> None:
        """Refuse a name that would end the command."""
        if (
            not (self.helo_name.isascii() and self.helo_name.isprintable())
            or " " in self.helo_name
            or not self.helo_name
        ):
            raise ValueError("helo_name must be a host name")


async def open_session(host: Host, site: Site, settings: ClientSettings) -> Connection | NoSession:
    """Return a connection to ``host`` that is ready for its first transaction, or why there is none.

    With opportunistic TLS a failed handshake, or a server that is lost between STARTTLS and its first words under TLS
    (TLS 1.3 refuses a client that late), is followed by one more connection, in plain text.
    Cancelling it leaves nothing open.
    """
    opened = await _open(host, site, site.tls, settings)
    if (
        site.tls is TlsMode.OPPORTUNISTIC
        and not site.implicit_tls
        and isinstance(opened, Unreachable)
        and opened.kind is UnreachableKind.TLS
    ):
        opened = await _open(host, site, TlsMode.OFF, settings)
    return opened if isinstance(opened, Connection) else NoSession(opened, str(host))


async def _open(host: Host, site: Site, mode: TlsMode, settings: ClientSettings) -> Connection | Failure:
    timeouts = site.limits.timeouts.over(settings.timeouts)
    connection = await _connect(host, site, settings, timeouts)
    if not isinstance(connection, Connection):
        return connection
    try:
        await _greet(connection, settings, timeouts)
        if not site.implicit_tls and mode is not TlsMode.OFF:
            await _secured(connection, mode, settings)
        if site.auth is not None:
            await _authenticate(connection, site.auth)
    except SessionFailedError as error:
        connection.hang_up()
        return error.failure
    except BaseException:
        connection.abort()
        raise
    return connection


async def _connect(host: Host, site: Site, settings: ClientSettings, timeouts: Timeouts) -> Connection | Unreachable:
    loop = asyncio.get_running_loop()
    context = settings.contexts.for_mode(site.tls) if site.implicit_tls else None
    kind, problem = UnreachableKind.CONNECT, ""
    try:
        async with asyncio.timeout(timeouts.connect):
            _, connection = await loop.create_connection(
                lambda: Connection(host, site.route, timeouts),
                host.address or host.name,
                host.port,
                ssl=context,
                server_hostname=host.name if context else None,
                ssl_handshake_timeout=timeouts.tls if context else None,
                ssl_shutdown_timeout=TLS_SHUTDOWN if context else None,
            )
    except TimeoutError:
        problem = "connect timed out"
    except ssl.SSLError as error:
        kind, problem = UnreachableKind.TLS, f"TLS handshake: {describe(error)}"
    except (socket.gaierror, UnicodeError) as error:  # UnicodeError: a name that IDNA cannot encode
        kind, problem = UnreachableKind.DNS, describe(error)
    except OSError as error:
        problem = describe(error)
    else:
        return connection
    return Unreachable(kind, problem, str(host))


async def _greet(connection: Connection, settings: ClientSettings, timeouts: Timeouts) -> None:
    greeting = await connection.greeting(timeouts.greeting)
    _require(connection, greeting, Command.CONNECT)
    connection.capabilities = await _hello(connection, settings.helo_name)


async def _hello(connection: Connection, helo_name: str) -> Capabilities:
    """EHLO, or HELO where the server does not know that (RFC 5321 §3.2)."""
    name = helo_name.encode("ascii")
    reply = await connection.ask(b"EHLO " + name, Command.EHLO)
    if reply.code in _POSITIVE:
        return parse_capabilities(reply.lines)
    if reply.code in _PERMANENT:
        reply = await connection.ask(b"HELO " + name, Command.EHLO)
    _require(connection, reply, Command.EHLO)
    return Capabilities()


async def _secured(connection: Connection, mode: TlsMode, settings: ClientSettings) -> None:
    """``_secure``; a server that goes silent or away over it has trouble with TLS, not with us."""
    try:
        await _secure(connection, mode, settings)
    except SessionFailedError as error:
        failure = error.failure
        if isinstance(failure, Unreachable) and failure.kind in {UnreachableKind.LOST, UnreachableKind.TIMEOUT}:
            raise SessionFailedError(replace(failure, kind=UnreachableKind.TLS)) from error
        raise


async def _secure(connection: Connection, mode: TlsMode, settings: ClientSettings) -> None:
    """STARTTLS as ``mode`` demands it; everything the server said before is forgotten (RFC 3207 §4.2)."""
    if not connection.capabilities.starttls:
        if mode is TlsMode.OPPORTUNISTIC:
            return
        raise _failed(connection, UnreachableKind.TLS, "STARTTLS is not offered", Command.EHLO)
    reply = await connection.ask(b"STARTTLS", Command.STARTTLS)
    if mode is TlsMode.OPPORTUNISTIC and reply.code not in _POSITIVE and reply.code != SERVICE_CLOSING:
        return
    _require(connection, reply, Command.STARTTLS)
    await connection.start_tls(settings.contexts.for_mode(mode))
    connection.capabilities = await _hello(connection, settings.helo_name)


async def _authenticate(connection: Connection, auth: Auth) -> None:
    """AUTH PLAIN (RFC 4616), or LOGIN for servers that have nothing better."""
    if connection.tls is None and not auth.plaintext:
        raise _failed(connection, UnreachableKind.TLS, "AUTH is not allowed without TLS", Command.AUTH)
    user, password = auth.user.encode("utf-8"), auth.password.encode("utf-8")
    offered = connection.capabilities.auth
    if "PLAIN" in offered:
        steps = [b"AUTH PLAIN " + base64.b64encode(b"\0%b\0%b" % (user, password))]
    elif "LOGIN" in offered:
        steps = [b"AUTH LOGIN", base64.b64encode(user), base64.b64encode(password)]
    else:
        raise _failed(connection, UnreachableKind.PROTOCOL, "neither AUTH PLAIN nor LOGIN is offered", Command.AUTH)
    for line in steps[:-1]:
        reply = await connection.ask(line, Command.AUTH)
        if reply.code != _CONTINUE:
            _require(connection, reply, Command.AUTH)
            raise _failed(connection, UnreachableKind.PROTOCOL, "AUTH ended before the password", Command.AUTH)
    _require(connection, await connection.ask(steps[-1], Command.AUTH), Command.AUTH)


def _require(connection: Connection, reply: RawReply, command: Command) -> None:
    """Go on only with a positive reply; a refusal is the server's answer, anything else is no SMTP."""
    if reply.code in _POSITIVE:
        return
    answer = to_reply(reply, command)
    if answer.transient or answer.permanent:
        raise SessionFailedError(answer)
    raise _failed(connection, UnreachableKind.PROTOCOL, f"unexpected reply {reply.code}", command)


def _failed(connection: Connection, kind: UnreachableKind, text: str, command: Command) -> SessionFailedError:
    return SessionFailedError(Unreachable(kind, text, str(connection.host), command))
