"""One mail for many people: Jinja templates in a folder, and an ``EmailMessage`` for each person."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import make_msgid, parseaddr
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape


class Letter:
    """Compiles ``subject.txt``, ``text.txt`` and ``html.html`` once.

    Args:
        folder: where they lie.
        sender: the From header, ``Ada <ada@example.org>``.

    Raises:
        jinja2.TemplateNotFound: one is missing.
        jinja2.TemplateSyntaxError: one is no template.
    """

    def __init__(self, folder: Path, sender: str) -> None:
        environment = Environment(loader=FileSystemLoader(folder), autoescape=select_autoescape())
        self._subject = environment.get_template("subject.txt")
        self._text = environment.get_template("text.txt")
        self._html = environment.get_template("html.html")
        self._sender = sender
        # Given here, because make_msgid() would ask DNS for this host's name for every mail.
        self._domain = parseaddr(sender)[1].rpartition("@")[2]

    def addressed_to(self, recipient: str, variables: Mapping[str, Any]) -> EmailMessage:
        """The mail for one person, as text and as html."""
        message = EmailMessage()
        message["From"] = self._sender
        message["To"] = recipient
        message["Subject"] = self._subject.render(variables)
        message["Date"] = datetime.now(UTC)
        message["Message-ID"] = make_msgid(domain=self._domain)
        message.set_content(self._text.render(variables))
        message.add_alternative(self._html.render(variables), subtype="html")
        return message
