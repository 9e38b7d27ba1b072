"""``mailwarren-sink``: the sink as a program."""

import argparse
import asyncio
import contextlib
import os
import resource
import signal
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
import structlog
import uvloop

from mailwarren.sink.script import Script, ScriptError, read_script, read_toml
from mailwarren.sink.server import AddressError, Sink, parse_address
from mailwarren.sink.store import Mode

log = structlog.get_logger(__name__)


class Ready(msgspec.Struct, frozen=True):
    """The line of the ready file: where the sink listens, and its process id."""

    smtp: str
    http: str
    pid: int
    smtp_extra: tuple[str, ...] = ()
    mx: dict[str, str] = {}


def _address(text: str) -> str:
    try:
        parse_address(text)
    except AddressError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _named_address(text: str) -> tuple[str, str]:
    name, equals, address = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=HOST:PORT")
    return name.lower(), _address(address)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def _credentials(text: str) -> tuple[str, str]:
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        raise argparse.ArgumentTypeError("expected USER:PASS")
    return user, password


def _script(text: str) -> Script:
    try:
        read = read_toml if text.endswith(".toml") else read_script
        return read(Path(text).read_bytes())
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot read {text}: {error.strerror}") from error
    except ScriptError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mailwarren-sink",
        description="A scripted SMTP receiver: takes mail, refuses it as its script says, and counts all it got.",
    )
    where = "HOST:PORT"
    parser.add_argument(
        "--smtp", type=_address, default="127.0.0.1:0", metavar=where, help="listen for SMTP (port 0: any)"
    )
    parser.add_argument(
        "--http", type=_address, default="127.0.0.1:0", metavar=where, help="listen for HTTP (port 0: any)"
    )
    parser.add_argument(
        "--smtp-extra", type=_address, default=[], action="append", metavar=where, help="one more server; repeatable"
    )
    parser.add_argument(
        "--mx", type=_named_address, default=[], action="append", metavar="NAME=HOST:PORT",
        help="one more server, that goes by a name of its own; repeatable",
    )  # fmt: skip
    parser.add_argument("--tls", action="store_true", help="offers STARTTLS, with certificates of its own authority")
    parser.add_argument("--tls-cert", metavar="FILE", help="certificate chain (PEM): offers STARTTLS")
    parser.add_argument("--tls-key", metavar="FILE", help="its key (PEM)")
    parser.add_argument("--auth", type=_credentials, metavar="USER:PASS", help="offers AUTH, and requires it")
    parser.add_argument(
        "--script", type=_script, metavar="FILE", help="the personas: JSON, or TOML by its ending (see the README)"
    )
    parser.add_argument("--keep", type=_count, default=20_000, metavar="N", help="raw mails kept (default 20000)")
    parser.add_argument(
        "--mode", type=Mode, choices=list(Mode), default=Mode.FULL,
        help="full: mails, records, ledger; counting: the ledger by digests; bare: counts alone (default full)",
    )  # fmt: skip
    parser.add_argument("--ready-file", type=Path, metavar="FILE", help="written once all addresses listen")
    return parser


def _tls(parser: argparse.ArgumentParser, certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    if not certificate and not key:
        return None
    if not (certificate and key):
        parser.error("--tls-cert and --tls-key belong together")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        parser.error(f"cannot use the certificate: {error}")
    return context


def _write_ready(path: Path, ready: Ready) -> None:
    # Renamed into place, so that who waits for the file never reads half of it.
    part = path.with_name(f"{path.name}.{ready.pid}.part")
    part.write_bytes(msgspec.json.encode(ready) + b"\n")
    part.replace(path)


async def _serve(options: argparse.Namespace, tls: ssl.SSLContext | Literal[True] | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    sink = Sink(script=options.script, keep=options.keep, mode=options.mode, tls=tls, credentials=options.auth)
    addresses = await sink.start(
        smtp=options.smtp, smtp_extra=options.smtp_extra, mx=dict(options.mx), http=options.http
    )
    ready = Ready(addresses.smtp, addresses.http, os.getpid(), addresses.smtp_extra, addresses.mx)
    if options.ready_file:
        _write_ready(options.ready_file, ready)
    log.info("sink.ready", **msgspec.to_builtins(ready))
    await stop.wait()
    await sink.stop()
    stats = sink.store.stats()
    log.info("sink.stopped", received=stats.received, accepted=stats.accepted, duplicates=stats.duplicates)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until SIGTERM or SIGINT. Exit status 2 for wrong arguments or a bad script, 1 when an address is taken."""
    parser = _parser()
    options = parser.parse_args(arguments)
    tls: ssl.SSLContext | Literal[True] | None = _tls(parser, options.tls_cert, options.tls_key)
    if tls is None and options.tls:
        tls = True
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    # Thousands of connections at once are the normal case of a load test; the soft limit is often 1024.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        uvloop.run(_serve(options, tls))
    except OSError as error:
        log.error("sink.failed", error=str(error))  # noqa: TRY400  the address is taken: no traceback helps
        sys.exit(1)
