"""Bulk calls: one template for up to 10,000 recipients, and what is wrong with single rows of it.

A template that does not parse sinks the call; a row that does not fill it is an error of that row. The subject is
rendered here already, because a line break in a variable would otherwise reach a header.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Content, OnUnknown, Syntax
from mailwarren.contracts.template import (
    MAX_WORK,
    TemplateProblem,
    missing_variables,
    render,
    required_variables,
    uses_template_syntax,
)
from mailwarren.ingest.domain.decoding import decode
from mailwarren.ingest.domain.email import Recipient, SendEmail
from mailwarren.ingest.domain.headers import check_value
from mailwarren.ingest.domain.refusal import invalid, missing
from mailwarren.ingest.domain.requests import BulkBody, RecipientBody
from mailwarren.ingest.domain.validation import check_content, check_mailbox, check_metadata

MAX_ROWS = 10_000
MAX_ROW = 32 * 1024
"""Bytes of one row's JSON."""
MAX_DEPTH = 16
"""Nested lists and objects in variables: what we can decode, a sender must be able to decode inside a parcel."""
SUBJECTS_WORK = 500_000_000
"""Units of template work (about half a second) that the subjects of one call may take together. Each row has an equal
share, so that none can use up another's."""

_row = msgspec.json.Decoder(RecipientBody)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class BulkMail:
    """What all rows of a bulk call share.

    ``required`` are the variables that the template needs; ``nested``: some of them are attributes (``user.name``).
    ``subject_work``: units that rendering the subject of one row may take.
    """

    content: Content
    sender_domain: str
    required: frozenset[str]
    nested: bool
    lane: Lane
    expires_at: float | None
    on_unknown: OnUnknown
    metadata: dict[str, str]
    subject_work: int = MAX_WORK


def validate_bulk(body: BulkBody) -> BulkMail:
    """The shared part of a bulk call.

    Raises:
        Refusal: 422 naming the field.
    """
    if not body.recipients:
        raise missing("Missing `recipients` field: give at least one row.")
    if len(body.recipients) > MAX_ROWS:
        raise invalid(f"Too many recipients: {len(body.recipients)} rows, {MAX_ROWS} are possible in one call.")
    sender = check_mailbox(body.from_, "from")
    content = check_content(body, sender, Syntax.TEMPLATE)
    required = _required(content)
    return BulkMail(
        content=content,
        sender_domain=sender.domain,
        required=required,
        nested=any("." in name for name in required),
        lane=body.priority or Lane.BULK,
        expires_at=body.expires_at.timestamp() if body.expires_at else None,
        on_unknown=body.on_unknown or OnUnknown.RESEND,
        metadata=check_metadata(body.metadata),
        subject_work=min(MAX_WORK, SUBJECTS_WORK // len(body.recipients)),
    )


def validate_row(mail: BulkMail, index: int, raw: msgspec.Raw) -> SendEmail:
    """Row ``index`` as an email of its own.

    Raises:
        Refusal: what is wrong with this row.
    """
    field = f"recipients[{index}]"
    text = bytes(raw)
    if len(text) > MAX_ROW:
        raise invalid(f"Invalid `{field}`: the row is larger than {MAX_ROW} bytes.")
    try:
        row = _row.decode(text)
    except _UNREADABLE:
        row = decode(text, RecipientBody, where=f"{field}.", what=f"`{field}`")  # again, for the words
    box = check_mailbox(row.to, field, ".to")
    variables = row.variables or {}
    if _suspicious(text):
        _check_variables(variables, f"{field}.variables", MAX_DEPTH)
    # One comparison where it can decide; which names are missing, or are attributes, takes a look at each.
    if (mail.nested or not mail.required <= variables.keys()) and (
        absent := missing_variables(mail.required, variables)
    ):
        names = ", ".join(f"`{name}`" for name in absent)
        raise missing(f"Missing variables in `{field}.variables`: the template needs {names}.")
    _check_subject(mail, variables, field)
    metadata = mail.metadata
    if row.metadata:
        metadata = metadata | check_metadata(row.metadata, f"{field}.metadata")
    recipient = Recipient(box.address, box.text(), variables=variables, metadata=metadata)
    return SendEmail(mail.content, mail.sender_domain, (recipient,), mail.lane, mail.expires_at, mail.on_unknown)


def _required(content: Content) -> frozenset[str]:
    names: frozenset[str] = frozenset()
    for field, source in (("subject", content.subject), ("html", content.html), ("text", content.text)):
        try:
            names |= required_variables(source or "")
        except TemplateProblem as error:
            raise invalid(f"Invalid `{field}` field: the template cannot be read: {error}.") from error
    return names


def _check_subject(mail: BulkMail, variables: Mapping[str, Any], field: str) -> None:
    subject = mail.content.subject
    if not uses_template_syntax(subject):
        return
    try:
        check_value(render(subject, variables, html=False, work=mail.subject_work), f"{field} (rendered subject)")
    except TemplateProblem as error:
        raise invalid(f"Invalid `{field}`: the subject cannot be rendered: {error}.") from error


def _suspicious(row: bytes) -> bool:
    """Whether variables may hold what :func:`_check_variables` refuses: few rows spell a NUL or have many brackets."""
    return b"\\u0000" in row or row.count(b"{") + row.count(b"[") > MAX_DEPTH


def _check_variables(value: Any, field: str, depth: int) -> None:
    if isinstance(value, str):
        if "\x00" in value:
            raise invalid(f"Invalid `{field}` field: it contains a NUL character.")
    elif isinstance(value, dict | list):
        if depth == 0:
            raise invalid(f"Invalid `{field}` field: it is nested deeper than {MAX_DEPTH} levels.")
        if isinstance(value, dict):
            _check_variables("".join(value), field, depth)
            value = value.values()
        for item in value:
            _check_variables(item, field, depth - 1)
