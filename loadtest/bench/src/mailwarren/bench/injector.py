"""Sends prepared mails over SMTP as cheaply as possible, to measure a relay and not its client.

Connections are kept open and the envelope is pipelined (RFC 2920): two round trips for each mail.
"""

import asyncio
import re
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_OK = b"2"
_GO_AHEAD = b"3"
_LEADING_DOT = re.compile(rb"^\.", re.MULTILINE)


class Refused(RuntimeError):
    """A relay that does not take every mail is not measured; the text is its reply."""


class Envelope(NamedTuple):
    """A mail, ready for the wire."""

    recipient: str
    content: bytes
    """As :func:`dot_stuffed` makes it."""


class Injected(NamedTuple):
    """What became of one mail."""

    started_at: float
    """Unix seconds, when its MAIL was written."""
    seconds: float
    """Until the reply to its final dot."""
    recipient: str = ""


def dot_stuffed(message: bytes) -> bytes:
    """A message with CRLF line ends as it follows DATA, the final dot too (RFC 5321 section 4.5.2)."""
    end = b"" if message.endswith(b"\r\n") else b"\r\n"
    return _LEADING_DOT.sub(b"..", message) + end + b".\r\n"


async def inject(address: str, sender: str, mails: Sequence[Envelope], *, connections: int = 20) -> list[Injected]:
    """Send each mail once; one :class:`Injected` for each, in the order in which they were accepted.

    Args:
        address: ``host:port``.
        sender: the envelope's.
        mails: each goes to one recipient.
        connections: how many to send over at once.

    Raises:
        Refused: a reply was not the expected one, or the connection was lost.
        OSError: nobody listens there.
    """
    injected: list[Injected] = []
    waiting = iter(mails)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(connections, len(mails))):
                group.create_task(_send_over_one(address, sender, waiting, injected))
    except ExceptionGroup as several:
        raise several.exceptions[0] from None
    return injected


async def _send_over_one(address: str, sender: str, waiting: Iterator[Envelope], injected: list[Injected]) -> None:
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        await _expect(reader, _OK)
        writer.write(b"EHLO bench.test\r\n")
        await _expect(reader, _OK)
        start = b"MAIL FROM:<" + sender.encode() + b">\r\nRCPT TO:<"
        for mail in waiting:
            at, before = time.time(), time.perf_counter()
            writer.write(start + mail.recipient.encode() + b">\r\nDATA\r\n")
            await _expect(reader, _OK)
            await _expect(reader, _OK)
            await _expect(reader, _GO_AHEAD)
            writer.write(mail.content)
            await _expect(reader, _OK)
            injected.append(Injected(at, time.perf_counter() - before, mail.recipient))
        writer.write(b"QUIT\r\n")
        await _expect(reader, _OK)
    finally:
        writer.close()


async def _expect(reader: asyncio.StreamReader, kind: bytes) -> None:
    while True:
        line = await reader.readline()
        if line[3:4] != b"-":
            break
    if line[:1] != kind:
        raise Refused(line.decode(errors="replace").strip() or "the connection was lost")
