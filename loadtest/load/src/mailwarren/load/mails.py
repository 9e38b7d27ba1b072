"""The bodies of the three kinds of calls. Pure: recipients in, JSON values out."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from mailwarren.load import RUN, SENDER_DOMAIN
from mailwarren.load.domains import Person

Body = dict[str, Any]

_PARAGRAPH = (
    "Thank you for being with us. Below is what has changed since we last wrote, what it means for you, and where to "
    "find the people who can help. You get this mail because you asked for it; one click ends that."
)
_NEWSLETTER = f"<h1>Hello {{{{{{name|there}}}}}}</h1><p>{_PARAGRAPH}</p><p>Your number: {{{{ number }}}}</p>" + "".join(
    f"<h2>{title}</h2><p>{_PARAGRAPH}</p>" for title in ("News", "Dates", "Offers", "Questions")
)


def code_mail(to: Person, run: str, number: int) -> Body:
    """A sign-in code, in the high lane."""
    code = f"{int.from_bytes(sha256(f'{run} {number}'.encode()).digest()[:4], 'big') % 1_000_000:06}"
    return _mail(to, run) | {
        "from": f"Load Test <sign-in@{SENDER_DOMAIN}>",
        "subject": f"{code} is your sign-in code",
        "text": f"Hello {to.name},\n\nyour code is {code}. It is valid for ten minutes.\n",
        "priority": "high",
    }


def receipt_mail(to: Person, run: str, number: int) -> Body:
    """A receipt with an HTML part, in the normal lane."""
    return _mail(to, run) | {
        "from": f"Load Test <billing@{SENDER_DOMAIN}>",
        "subject": f"Receipt {number:08}",
        "html": f"<p>Hello {to.name},</p><p>{_PARAGRAPH}</p><table><tr><td>{number:08}</td><td>19.00</td></tr></table>",
        "text": f"Hello {to.name},\n\n{_PARAGRAPH}\n\n{number:08}  19.00\n",
        "priority": "normal",
        "tags": [{"name": "kind", "value": "receipt"}],
    }


def newsletter(people: Sequence[Person], run: str) -> Body:
    """One template for many, in the bulk lane: each recipient has a name and a number of its own."""
    return {
        "from": f"Load Test <news@{SENDER_DOMAIN}>",
        "subject": "{{{name|Hello}}}, what is new",
        "html": _NEWSLETTER,
        "text": f"Hello {{{{{{name|there}}}}}}\n\n{_PARAGRAPH}\n\nYour number: {{{{ number }}}}\n",
        "metadata": {RUN: run},
        "recipients": [
            {"to": one.address, "variables": {"name": one.name, "number": str(number)}}
            for number, one in enumerate(people)
        ],
    }


def _mail(to: Person, run: str) -> Body:
    return {"to": f"{to.name} <{to.address}>", "metadata": {RUN: run}}
