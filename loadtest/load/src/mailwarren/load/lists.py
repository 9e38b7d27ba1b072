"""A list and what is broadcast to it. Pure: people in; a CSV file, JSON values, and who is missing out."""

import csv
import io
from collections.abc import Container, Iterable
from typing import Any

from mailwarren.load import RUN, SENDER_DOMAIN
from mailwarren.load.domains import Person


def csv_file(people: Iterable[Person]) -> bytes:
    """The list, as a person would export it from another system."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("E-Mail", "First name", "Last name"))
    for one in people:
        first, _, last = one.name.partition(" ")
        writer.writerow((one.address, first, last))
    return text.getvalue().encode()


def broadcast_body(segment: str, run: str) -> dict[str, Any]:
    """A draft to a segment; each mail has the name of its reader."""
    return {
        "segment_id": segment,
        "name": f"{RUN} {run}",
        "from": f"Load Test <list@{SENDER_DOMAIN}>",
        "subject": "{{{contact.first_name|Hello}}}, what is new",
        "html": "<h1>Hello {{{contact.first_name|there}}}</h1><p>Nothing is new, and that is good news.</p>",
        "text": "Hello {{{contact.first_name|there}}}\n\nNothing is new, and that is good news.\n",
    }


def missing_from(known: Container[str], wanted: Iterable[str]) -> list[str]:
    """The addresses that have no email yet."""
    return [address for address in wanted if address not in known]
