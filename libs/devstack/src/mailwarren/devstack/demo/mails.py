"""What the demo writes to people: the bodies of the three kinds of calls, personalised.

High and normal mail is written here, word for word, as an application would; ``{{`` in a name is text. Bulk mail is
one template that the senders fill in for each recipient.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from mailwarren.devstack.demo.recipients import Recipient

SENDER_DOMAIN = "demo.mailwarren.test"
RUN = "demo_run"
"""Name of the metadata entry that says which run a mail belongs to."""
ROW = "demo_row"
VARIABLES = ("first_name", "last_name", "language", "city", "plan", "renewal_date", "amount", "currency")
BULK_SUBJECT = "{{{first_name|Hello}}}, your {{ plan }} plan renews on {{ renewal_date }}"

Body = dict[str, Any]


def sign_in_mail(recipient: Recipient, run: str, now: datetime) -> Body:
    """``POST /v1/emails``: a code that nobody else has, in the high lane."""
    code = f"{int.from_bytes(sha256(f'{run} {recipient.row}'.encode()).digest()[:4], 'big') % 1_000_000:06}"
    text = Template(content("sign-in.txt")).substitute(name=_called(recipient), code=code)
    return _email(recipient, run, now) | {
        "from": f"Mailwarren Demo <sign-in@{SENDER_DOMAIN}>",
        "subject": f"{code} is your sign-in code",
        "text": text,
        "priority": "high",
    }


def receipt_mail(recipient: Recipient, run: str, now: datetime) -> Body:
    """An element of ``POST /v1/emails/batch``: a receipt, in the normal lane."""
    fields = recipient.fields
    values = {
        "name": recipient.name or "customer",
        "number": f"MW-{now:%Y}-{recipient.row:06}",
        "plan": fields.get("plan", ""),
        "until": fields.get("renewal_date", ""),
        "amount": fields.get("amount", ""),
        "currency": fields.get("currency", ""),
    }
    escaped = {name: escape(value) for name, value in values.items()}
    return _email(recipient, run, now) | {
        "from": f"Mailwarren Demo <billing@{SENDER_DOMAIN}>",
        "reply_to": f"accounts@{SENDER_DOMAIN}",
        "subject": f"Receipt {values['number']}",
        "html": Template(content("receipt.html")).substitute(escaped),
        "text": Template(content("receipt.txt")).substitute(values),
        "priority": "normal",
    }


def renewal_mail(recipients: Sequence[Recipient], run: str, now: datetime) -> Body:
    """``POST /v1/emails/bulk``: one template for many; all ``recipients`` have the same ``expires_in``.

    An empty cell is a variable that is not there.
    """
    rows = [
        {
            "to": recipient.mailbox,
            "variables": {name: recipient.fields[name] for name in VARIABLES if name in recipient.fields},
            "metadata": {ROW: str(recipient.row)},
        }
        for recipient in recipients
    ]
    return {
        "from": f"Mailwarren Demo <hello@{SENDER_DOMAIN}>",
        "subject": BULK_SUBJECT,
        "html": content("newsletter.html"),
        "text": content("newsletter.txt"),
        "metadata": {RUN: run},
        "recipients": rows,
        **_expiry(recipients[0], now),
    }


@cache
def content(name: str) -> str:
    """A file of ``content/``."""
    return (files("mailwarren.devstack.demo") / "content" / name).read_text(encoding="utf-8")


def _email(recipient: Recipient, run: str, now: datetime) -> Body:
    return {
        "to": recipient.mailbox,
        "metadata": {RUN: run, ROW: str(recipient.row)},
        **_expiry(recipient, now),
    }


def _expiry(recipient: Recipient, now: datetime) -> Body:
    if recipient.expires_in is None:
        return {}
    return {"expires_at": (now + timedelta(seconds=recipient.expires_in)).isoformat()}


def _called(recipient: Recipient) -> str:
    return recipient.fields.get("first_name") or "there"
