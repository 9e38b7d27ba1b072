"""From what the API takes to what can be sent: every rule about a single email, without I/O.

Refusals name the field and say what to do. What needs more than the request (suppression, the key's domains, the
clock) is decided in :mod:`mailwarren.ingest.submit`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Content, Mark, OnUnknown, Role, Syntax
from mailwarren.ingest.domain.addresses import InvalidAddress, Mailbox, parse_mailbox
from mailwarren.ingest.domain.email import Recipient, SendEmail
from mailwarren.ingest.domain.headers import check_headers, check_value
from mailwarren.ingest.domain.refusal import invalid, missing
from mailwarren.ingest.domain.requests import Addresses, BulkBody, EmailBody, TagBody
from mailwarren.ingest.domain.tracking_links import asked

MAX_RECIPIENTS = 50
"""In to, cc and bcc together."""
MAX_CONTENT = 512 * 1024
"""Bytes of html and text together."""
MAX_TAGS = 50
MAX_METADATA = 50
MAX_METADATA_KEY = 40
MAX_METADATA_VALUE = 500

_TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")


def validate_email(
    body: EmailBody, syntax: Syntax = Syntax.LITERAL, variables: Mapping[str, Any] | None = None
) -> SendEmail:
    """An email of ``/emails`` or ``/emails/batch``.

    Args:
        body: the request; a ``template`` in it is not looked at.
        syntax: literal: ``{{`` in the content is text.
        variables: of every recipient.

    Raises:
        Refusal: 422 naming the field.
    """
    sender = _sender(given(body.from_, "from"))
    to, cc, bcc = listed(body.to), listed(body.cc), listed(body.bcc)
    if not to:
        raise missing("Missing `to` field: give at least one address.")
    if len(to) + len(cc) + len(bcc) > MAX_RECIPIENTS:
        raise invalid(
            f"Too many recipients: `to`, `cc` and `bcc` may hold {MAX_RECIPIENTS} addresses together. "
            "POST /v1/emails/bulk takes up to 10,000."
        )
    boxes = (check_mailboxes(to, "to"), check_mailboxes(cc, "cc"), check_mailboxes(bcc, "bcc"))
    content = check_content(body, sender, syntax, to=boxes[0], cc=boxes[1], bcc=boxes[2])
    return SendEmail(
        content=content,
        sender_domain=sender.domain,
        recipients=_recipients(boxes, check_metadata(body.metadata), dict(variables) if variables else {}),
        lane=body.priority or Lane.NORMAL,
        expires_at=body.expires_at.timestamp() if body.expires_at else None,
        on_unknown=body.on_unknown or OnUnknown.RESEND,
        scheduled_at=body.scheduled_at,
        topic=body.topic_id,
    )


def check_content(
    body: EmailBody | BulkBody,
    sender: Mailbox,
    syntax: Syntax,
    *,
    to: Sequence[Mailbox] = (),
    cc: Sequence[Mailbox] = (),
    bcc: Sequence[Mailbox] = (),
) -> Content:
    """What the mail says: subject, bodies, headers, tags.

    Raises:
        Refusal: 422 naming the field.
    """
    html, text = body.html or None, body.text or None
    if html is None and text is None:
        raise missing("Missing `html` or `text` field: an email needs at least one of them.")
    check_bodies(html, text)
    reply_to = check_mailboxes(listed(body.reply_to), "reply_to")
    if len(reply_to) > MAX_RECIPIENTS:
        raise invalid(f"Invalid `reply_to` field: more than {MAX_RECIPIENTS} addresses.")
    return Content(
        sender=sender.text(),
        subject=check_value(given(body.subject, "subject"), "subject"),
        html=html,
        text=text,
        to=_texts(to),
        cc=_texts(cc),
        bcc=_texts(bcc),
        reply_to=_texts(reply_to),
        headers=check_headers(body.headers) if isinstance(body.headers, dict) else {},
        tags=check_tags(body.tags or ()),
        syntax=syntax,
        tls=body.tls,
        tracking=asked(body.open_tracking, body.click_tracking),
    )


def given(value: str | None, field: str) -> str:
    """The value of a field that only a template can stand in for.

    Raises:
        Refusal: 422, there is none.
    """
    if value is None:
        raise missing(f"Missing `{field}` field.")
    return value


def check_bodies(html: str | None, text: str | None) -> None:
    """Raise for a NUL (no mail can carry it, RFC 5321 §4.5.2, and no database) and for too much content."""
    for field, value in (("html", html), ("text", text)):
        if value is not None and "\x00" in value:
            raise invalid(f"Invalid `{field}` field: it contains a NUL character.")
    size = sum(len(value.encode()) for value in (html, text) if value is not None)
    if size > MAX_CONTENT:
        raise invalid(
            f"Invalid content: `html` and `text` have {size} bytes together; this version takes {MAX_CONTENT}."
        )


def check_mailbox(value: str, field: str, member: str = "") -> Mailbox:
    """A mailbox in ``field``, or in the ``member`` of it.

    Raises:
        Refusal: 422 with the reason.
    """
    try:
        return parse_mailbox(value)
    except InvalidAddress as error:
        raise invalid(f"Invalid `{field}{member}` field: {error}") from error


# A caller's mails have one sender, or a few.
@lru_cache(maxsize=1024)
def _sender(value: str) -> Mailbox:
    return check_mailbox(value, "from")


def check_mailboxes(values: Sequence[str], field: str) -> list[Mailbox]:
    """Mailboxes in ``field``, an address once only (its first mailbox stands).

    Raises:
        Refusal: 422 with the element and the reason.
    """
    boxes: dict[str, Mailbox] = {}
    for index, value in enumerate(values):
        box = check_mailbox(value, f"{field}[{index}]" if len(values) > 1 else field)
        boxes.setdefault(box.key, box)
    return list(boxes.values())


def check_tags(tags: Iterable[TagBody]) -> tuple[Mark, ...]:
    """Tags, as the public API bounds them.

    Raises:
        Refusal: 422.
    """
    marks = tuple(Mark(tag.name, tag.value) for tag in tags)
    if len(marks) > MAX_TAGS:
        raise invalid(f"Invalid `tags` field: more than {MAX_TAGS} tags.")
    for index, mark in enumerate(marks):
        for part, value in (("name", mark.name), ("value", mark.value)):
            if not _TAG.fullmatch(value) and not (part == "value" and not value):
                raise invalid(
                    f"Invalid `tags[{index}].{part}` field: 1 to 256 ASCII letters, digits, underscores or dashes."
                )
    return marks


def check_metadata(metadata: Mapping[str, str] | None, field: str = "metadata") -> dict[str, str]:
    """Metadata: names and values for the caller's own use.

    Raises:
        Refusal: 422.
    """
    if not metadata:
        return {}
    if len(metadata) > MAX_METADATA:
        raise invalid(f"Invalid `{field}` field: more than {MAX_METADATA} entries.")
    for key, value in metadata.items():
        if not 0 < len(key) <= MAX_METADATA_KEY:
            raise invalid(f"Invalid `{field}` field: a name has 1 to {MAX_METADATA_KEY} characters.")
        if len(value) > MAX_METADATA_VALUE:
            raise invalid(f"Invalid `{field}.{key}` field: a value has at most {MAX_METADATA_VALUE} characters.")
        if "\x00" in key or "\x00" in value:
            raise invalid(f"Invalid `{field}` field: it contains a NUL character.")
    return dict(metadata)


def _recipients(
    boxes: Iterable[Sequence[Mailbox]], metadata: dict[str, str], variables: dict[str, Any]
) -> tuple[Recipient, ...]:
    # One address has one delivery per email: the first of to, cc, bcc that names it.
    recipients: dict[str, Recipient] = {}
    for role, named in zip((Role.TO, Role.CC, Role.BCC), boxes, strict=True):
        for box in named:
            recipients.setdefault(box.key, Recipient(box.address, box.text(), role, variables, metadata))
    return tuple(recipients.values())


def listed(value: Addresses | None) -> list[str]:
    """One or more addresses as a list."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else value


def _texts(boxes: Sequence[Mailbox]) -> tuple[str, ...]:
    return tuple(box.text() for box in boxes)
