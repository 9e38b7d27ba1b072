"""The script: one list, one connection, one mail after the other.

``python -m mailwarren.baselines.smtplib_loop --smtp HOST:PORT --messages FILE --templates FOLDER --from SENDER``

Jinja compiled once, :class:`email.message.EmailMessage`, :mod:`smtplib` over one connection that is kept open and
opened again when the server drops it. Nothing is written down: a mail that the server refuses is counted and left, and
who stops the script does not know how far it came. To make it faster is welcome; to slow it is not.
"""

import argparse
import json
import smtplib
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from mailwarren.baselines.letter import Letter

_TIMEOUT = 60.0
_CLOSING = 421
"""The server's last words on a connection (RFC 5321 section 3.8)."""


@dataclass
class Tally:
    """What a run did, from before the connection to after the last reply."""

    sent: int = 0
    refused: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """User and system, of this process."""


class Mailer:
    """Sends over one connection, and connects when there is none.

    Args:
        address: ``host:port``.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port = host, int(port)
        self._smtp: smtplib.SMTP | None = None

    def send(self, message: EmailMessage) -> None:
        """Send one mail, once more over a new connection when the old one was gone.

        Raises:
            smtplib.SMTPException: the server refused it.
            OSError: there is no server.
        """
        if self._smtp is not None:
            try:
                self._smtp.send_message(message)
            except (smtplib.SMTPServerDisconnected, smtplib.SMTPResponseException) as error:
                if getattr(error, "smtp_code", _CLOSING) != _CLOSING:
                    raise
            else:
                return
        # A new object: a closed one connects again and forgets to say EHLO. With a name given it asks no DNS for ours.
        self._smtp = smtplib.SMTP(self._host, self._port, local_hostname=socket.gethostname(), timeout=_TIMEOUT)
        self._smtp.send_message(message)

    def close(self) -> None:
        """Say QUIT, if there is anybody to say it to."""
        if self._smtp is not None:
            with suppress(smtplib.SMTPServerDisconnected):
                self._smtp.quit()


def send_all(mailer: Mailer, letter: Letter, recipients: Iterable[dict[str, Any]]) -> Tally:
    """Send a mail to each of ``{"to": address, "variables": {…}}``."""
    tally = Tally()
    began, cpu = time.perf_counter(), time.process_time()
    for recipient in recipients:
        try:
            mailer.send(letter.addressed_to(recipient["to"], recipient["variables"]))
        except (smtplib.SMTPRecipientsRefused, smtplib.SMTPResponseException):
            tally.refused += 1
        else:
            tally.sent += 1
    tally.seconds = time.perf_counter() - began
    tally.cpu_seconds = time.process_time() - cpu
    mailer.close()
    return tally


def read(path: Path) -> Iterator[dict[str, Any]]:
    """One recipient a line."""
    with path.open() as lines:
        for line in lines:
            yield json.loads(line)


def main() -> None:
    """Run, and print the tally as one line of JSON."""
    parser = argparse.ArgumentParser(prog="smtplib_loop", description="Sends one list over one SMTP connection.")
    parser.add_argument("--smtp", required=True, metavar="HOST:PORT")
    parser.add_argument("--messages", required=True, type=Path, metavar="FILE", help='lines of {"to", "variables"}')
    parser.add_argument(
        "--templates", required=True, type=Path, metavar="FOLDER", help="subject.txt, text.txt, html.html"
    )
    parser.add_argument("--from", required=True, dest="sender", metavar="SENDER", help="Ada <ada@example.org>")
    options = parser.parse_args()
    letter = Letter(options.templates, options.sender)
    tally = send_all(Mailer(options.smtp), letter, read(options.messages))
    print(json.dumps(asdict(tally)))  # noqa: T201 - the program's answer


if __name__ == "__main__":
    main()
