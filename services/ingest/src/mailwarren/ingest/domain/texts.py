"""Short texts of a person's choosing: names and descriptions."""

import re

from mailwarren.ingest.domain.refusal import invalid, missing

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def check_name(name: str, field: str, most: int) -> str:
    """A name, without the spaces around it.

    Raises:
        Refusal: 422, empty, too long, or with a control character.
    """
    name = name.strip()
    if not name:
        raise missing(f"Missing `{field}` field: 1 to {most} characters.")
    return check_text(name, field, most)


def check_text(text: str, field: str, most: int) -> str:
    """A text of one line, which may be empty.

    Raises:
        Refusal: 422, too long, or with a control character.
    """
    if len(text) > most:
        raise invalid(f"Invalid `{field}` field: it has {len(text)} characters; at most {most} are taken.")
    if _CONTROL.search(text):
        raise invalid(f"Invalid `{field}` field: a line break or another control character may not stand in it.")
    return text
