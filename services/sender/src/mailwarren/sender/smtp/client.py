"""From a host to a connection that is ready for mail: TCP, greeting, EHLO, STARTTLS, AUTH."""

import asyncio
import base64
import errno
import socket
import ssl
from dataclasses import dataclass, field, replace

from mailwarren.contracts.reply import Command
from mailwarren.sender.smtp.brokentls import BrokenTls
from mailwarren.sender.smtp.capabilities import Capabilities, parse_capabilities
from mailwarren.sender.smtp.connection import Connection
from mailwarren.sender.smtp.dialogue import SERVICE_CLOSING
from mailwarren.sender.smtp.replies import RawReply, to_reply
from mailwarren.sender.smtp.result import Failure, Negotiated, NoSession, Unreachable, UnreachableKind
from mailwarren.sender.smtp.site import Auth, Host, Site, TlsMode, check_helo
from mailwarren.sender.smtp.timeouts import Timeouts
from mailwarren.sender.smtp.tls import TlsContexts
from mailwarren.sender.smtp.tlsproblem import TlsProblem, read_problem
from mailwarren.sender.smtp.tlsrules import Check, Way, rule_of, ways
from mailwarren.sender.smtp.wire import TLS_SHUTDOWN, SessionFailedError, describe

_POSITIVE = range(200, 300)
_CONTINUE = 334
_PERMANENT = range(500, 600)


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What is the same for all connections of a process.

    Attributes:
        helo_name: Our name in EHLO: a host name that resolves to the address we send from (RFC 5321 §4.1.1.1). A site's
            ``source`` has one of its own.
        contexts: TLS contexts.
        timeouts: Seconds per stage.
        broken: Hosts whose TLS is broken.

    Raises:
        ValueError: ``helo_name`` holds spaces, control characters or characters outside ASCII.
    """

    helo_name: str
    contexts: TlsContexts
    timeouts: Timeouts = field(default_factory=Timeouts)
    broken: BrokenTls = field(default_factory=BrokenTls)

    def __post_init__(self) -> None:
        """Refuse a name that would end the command."""
        check_helo(self.helo_name)


async def open_session(host: Host, site: Site, settings: ClientSettings) -> Connection | NoSession:
    """Return a connection to ``host`` that is ready for its first transaction, or why there is none.

    Where TLS is opportunistic, a broken handshake, or a server that is lost between STARTTLS and its first words under
    TLS (TLS 1.3 refuses a client that late), is followed by one more connection, in plain text; the next ones begin so.
    A policy that is only tested is followed by a connection without it. Cancelling it leaves nothing open.
    """
    if site.source is not None:
        settings = replace(settings, helo_name=site.source.helo)
    negotiated: list[Negotiated] = []
    tried = ways(host, site, settings.broken)
    opened = await _open(host, site, tried[0], settings, negotiated)
    broken: TlsProblem | None = None
    for way in tried[1:]:
        if not isinstance(opened, Unreachable) or opened.tls is None:
            break
        broken = opened.tls if opened.tls.breaks else None
        if broken is None or way.check is None:  # what breaks breaks whatever the check
            opened = await _open(host, site, way, settings, negotiated)
    if not isinstance(opened, Connection):
        return NoSession(opened, str(host), rule_of(host, site), negotiated)
    if broken is not None:
        settings.broken.broke(host, broken)
    elif opened.tls is not None:
        settings.broken.worked(host)
    opened.rule = rule_of(host, site)
    opened.negotiated = tuple(negotiated)
    opened.chunking = site.limits.chunking and opened.capabilities.chunking
    return opened


async def _open(
    host: Host, site: Site, way: Way, settings: ClientSettings, negotiated: list[Negotiated]
) -> Connection | Failure:
    """One connection; how TLS went is added to ``negotiated``."""
    timeouts = site.limits.timeouts.over(settings.timeouts)
    connection = await _connect(host, site, settings, timeouts)
    if not isinstance(connection, Connection):
        return connection
    try:
        await _greet(connection, settings, timeouts)
        if not site.implicit_tls and way.check is not None:
            negotiated.append(await _secured(connection, way, way.check, settings))
        if site.auth is not None:
            await _authenticate(connection, site.auth)
    except SessionFailedError as error:
        connection.hang_up()
        if (found := _negotiation(host, error.failure)) is not None:
            negotiated.append(found)
        return error.failure
    except BaseException:
        connection.abort()
        raise
    return connection


def _negotiation(host: Host, failure: Failure) -> Negotiated | None:
    """What a failure says of TLS; None when it was about something else."""
    if isinstance(failure, Unreachable):
        return None if failure.tls is None else Negotiated(host, failure.tls, failure.text)
    if failure.command is Command.STARTTLS:
        return Negotiated(host, TlsProblem.REFUSED, f"{failure.code} {failure.text}")
    return None


async def _connect(host: Host, site: Site, settings: ClientSettings, timeouts: Timeouts) -> Connection | Unreachable:
    loop = asyncio.get_running_loop()
    context = settings.contexts.for_mode(site.tls) if site.implicit_tls else None
    kind, problem, tls = UnreachableKind.CONNECT, "", None
    source = site.source.address_to(host) if site.source is not None else None
    family = 0 if source is None else socket.AF_INET6 if ":" in source else socket.AF_INET
    try:
        async with asyncio.timeout(timeouts.connect):
            _, connection = await loop.create_connection(
                lambda: Connection(host, site.route, timeouts),
                host.address or host.name,
                host.port,
                family=family,
                local_addr=None if source is None else (source, 0),
                ssl=context,
                server_hostname=host.name if context else None,
                ssl_handshake_timeout=timeouts.tls if context else None,
                ssl_shutdown_timeout=TLS_SHUTDOWN if context else None,
            )
    except TimeoutError:
        problem = "connect timed out"
    except ssl.SSLError as error:
        kind, problem, tls = UnreachableKind.TLS, f"TLS handshake: {describe(error)}", read_problem(error)
    except (socket.gaierror, UnicodeError) as error:  # UnicodeError: a name that IDNA cannot encode
        kind, problem = UnreachableKind.DNS, describe(error)
    except OSError as error:
        problem = describe(error)
        if source is not None and error.errno == errno.EADDRNOTAVAIL:
            kind, problem = UnreachableKind.EGRESS, f"{source} cannot be sent from: {problem}"
    else:
        return connection
    return Unreachable(kind, problem, str(host), tls=tls)


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


async def _secured(connection: Connection, way: Way, check: Check, settings: ClientSettings) -> Negotiated:
    """``_secure``; a server that goes silent or away over it has trouble with TLS, not with us."""
    try:
        return await _secure(connection, way, check, settings)
    except SessionFailedError as error:
        failure = error.failure
        if isinstance(failure, Unreachable) and failure.kind in {UnreachableKind.LOST, UnreachableKind.TIMEOUT}:
            changed = replace(failure, kind=UnreachableKind.TLS, tls=TlsProblem.HANDSHAKE)
            raise SessionFailedError(changed) from error
        raise


async def _secure(connection: Connection, way: Way, check: Check, settings: ClientSettings) -> Negotiated:
    """STARTTLS; everything the server said before is forgotten (RFC 3207 §4.2).

    Returns how that went: with a problem, it goes on in the clear.
    """
    host = connection.host
    if not connection.capabilities.starttls:
        text = "STARTTLS is not offered"
        if way.clear:
            return Negotiated(host, TlsProblem.NOT_OFFERED, text)
        raise _failed(connection, UnreachableKind.TLS, text, Command.EHLO, TlsProblem.NOT_OFFERED)
    reply = await connection.ask(b"STARTTLS", Command.STARTTLS)
    if way.clear and reply.code not in _POSITIVE and reply.code != SERVICE_CLOSING:
        return Negotiated(host, TlsProblem.REFUSED, f"STARTTLS refused: {reply.code}")
    _require(connection, reply, Command.STARTTLS)
    await connection.start_tls(settings.contexts.for_mode(TlsMode.VERIFY if check is Check.PKIX else TlsMode.REQUIRED))
    if check is Check.DANE and host.dane is not None:
        problem = host.dane.problem(connection.certificates())
        if problem is not None:
            text = f"TLS handshake: no TLSA record of {host.name} fits its certificate ({problem.value})"
            raise _failed(connection, UnreachableKind.TLS, text, Command.STARTTLS, problem)
    connection.capabilities = await _hello(connection, settings.helo_name)
    return Negotiated(host)


async def _authenticate(connection: Connection, auth: Auth) -> None:
    """AUTH PLAIN (RFC 4616), or LOGIN for servers that have nothing better."""
    if connection.tls is None and not auth.plaintext:
        text = "AUTH is not allowed without TLS"
        raise _failed(connection, UnreachableKind.TLS, text, Command.AUTH)
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


def _failed(
    connection: Connection, kind: UnreachableKind, text: str, command: Command, tls: TlsProblem | None = None
) -> SessionFailedError:
    return SessionFailedError(Unreachable(kind, text, str(connection.host), command, tls=tls))
