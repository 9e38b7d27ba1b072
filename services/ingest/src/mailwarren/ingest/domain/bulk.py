"""Bulk calls: one template for up to 10,000 recipients, and what is wrong with single rows of it.

A template that does not parse sinks the call; a row that does not fill it is an error of that row. The subject is
rendered here already, because a line break in a variable would otherwise reach a header.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Content, OnUnknown, Syntax
from mailwarren.contracts.template import (
    MAX_WORK,
    TemplateProblem,
    missing_variables,
    required_variables,
)
from mailwarren.contracts.unsubscribe import VARIABLES
from mailwarren.ingest.domain.decoding import decode
from mailwarren.ingest.domain.email import Recipient, SendEmail
from mailwarren.ingest.domain.refusal import invalid, missing
from mailwarren.ingest.domain.requests import BulkBody, RecipientBody
from mailwarren.ingest.domain.template_mail import (
    MAX_DEPTH,
    check_subject,
    check_values,
    fill,
    given_variables,
    with_template,
)
from mailwarren.ingest.domain.templates import Version
from mailwarren.ingest.domain.validation import check_content, check_mailbox, check_metadata, given

MAX_ROWS = 10_000
MAX_ROW = 32 * 1024
"""Bytes of one row's JSON."""
MAX_DEFAULTS = 4096
"""Bytes of JSON of variables that a call gives for all rows: they travel with each of them."""
SUBJECTS_WORK = 500_000_000
"""Units of template work (about half a second) that the subjects of one call may take together. Each row has an equal
share, so that none can use up another's."""

_row = msgspec.json.Decoder(RecipientBody)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class BulkMail:
    """What all rows of a bulk call share.

    ``required`` are the variables that the template needs; ``nested``: some of them are attributes (``user.name``).
    ``subject_work``: units that rendering the subject of one row may take. ``version`` is the template's, when there
    is one, ``defaults`` its variables for rows that do not give them. ``shows_link``: the content has the reader's link
    to unsubscribe.
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
    version: Version | None = None
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    scheduled_at: str | None = None
    topic: UUID | None = None
    shows_link: bool = False


def validate_bulk(body: BulkBody, version: Version | None = None) -> BulkMail:
    """The shared part of a bulk call.

    Args:
        body: the request.
        version: the published version of its template.

    Raises:
        Refusal: 422 naming the field.
    """
    if not body.recipients:
        raise missing("Missing `recipients` field: give at least one row.")
    if len(body.recipients) > MAX_ROWS:
        raise invalid(f"Too many recipients: {len(body.recipients)} rows, {MAX_ROWS} are possible in one call.")
    defaults = given_variables(body.template.variables, most=MAX_DEFAULTS) if body.template else {}
    if version is not None:
        body = with_template(body, version)
    sender = check_mailbox(given(body.from_, "from"), "from")
    content = check_content(body, sender, Syntax.TEMPLATE)
    names = _required(content)
    required = names - VARIABLES
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
        version=version,
        defaults=defaults,
        scheduled_at=body.scheduled_at,
        topic=body.topic_id,
        shows_link=names != required,
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
        check_values(variables, f"{field}.variables", MAX_DEPTH)
    if mail.version is not None:
        variables = fill(mail.version, {**mail.defaults, **variables}, f"{field}.variables")
    # One comparison where it can decide; which names are missing, or are attributes, takes a look at each.
    if (mail.nested or not mail.required <= variables.keys()) and (
        absent := missing_variables(mail.required, variables)
    ):
        names = ", ".join(f"`{name}`" for name in absent)
        raise missing(f"Missing variables in `{field}.variables`: the template needs {names}.")
    check_subject(mail.content.subject, variables, mail.subject_work, field)
    metadata = mail.metadata
    if row.metadata:
        metadata = metadata | check_metadata(row.metadata, f"{field}.metadata")
    recipient = Recipient(box.address, box.text(), variables=variables, metadata=metadata)
    return SendEmail(
        mail.content, mail.sender_domain, (recipient,), mail.lane, mail.expires_at, mail.on_unknown, mail.scheduled_at,
        mail.topic,
    )  # fmt: skip


def _required(content: Content) -> frozenset[str]:
    names: frozenset[str] = frozenset()
    for field, source in (("subject", content.subject), ("html", content.html), ("text", content.text)):
        try:
            names |= required_variables(source or "")
        except TemplateProblem as error:
            raise invalid(f"Invalid `{field}` field: the template cannot be read: {error}.") from error
    return names


def _suspicious(row: bytes) -> bool:
    """Whether variables may hold what :func:`check_values` refuses: few rows spell a NUL or have many brackets."""
    return b"\\u0000" in row or row.count(b"{") + row.count(b"[") > MAX_DEPTH
