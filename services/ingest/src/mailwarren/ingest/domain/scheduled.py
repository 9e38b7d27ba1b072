"""Emails that are to be sent later: what is kept of one, and how it reads until the ledger has it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from mailwarren.contracts.ids import delivery_id, partition_of
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Content, OnUnknown, Syntax
from mailwarren.contracts.payloads import mail_fields
from mailwarren.ingest.domain.email import Numbered, Recipient, SendEmail
from mailwarren.ingest.domain.refusal import Refusal, invalid
from mailwarren.store.states import ScheduleState, State

WORDS = {
    ScheduleState.SCHEDULED: "scheduled",
    ScheduleState.HELD: "scheduled",
    ScheduleState.CANCELED: "canceled",
    ScheduleState.RELEASED: "queued",
}
"""The SDKs' word (``last_event``) by state, until the ledger knows better."""


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """An email but for its html and text, which many rows of a call may share. ``bulk``: of a bulk call.

    ``topic`` is what it is about, if it has a topic.
    """

    content: Content
    sender_domain: str
    recipients: tuple[Recipient, ...]
    expires_at: float | None = None
    on_unknown: OnUnknown = OnUnknown.RESEND
    bulk: bool = False
    trace: str | None = None
    topic: UUID | None = None


class Bodies(msgspec.Struct, frozen=True, omit_defaults=True):
    """What rows share."""

    html: str | None = None
    text: str | None = None


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was done with an email before it was released. ``due_at`` is the time that it got by it."""

    at: datetime
    kind: str
    due_at: datetime | None = None


_kept = msgspec.json.Decoder(Kept)
_bodies = msgspec.json.Decoder(Bodies)
_history = msgspec.json.Decoder(list[Change])


def keep(email: SendEmail, *, bulk: bool, trace: str | None) -> bytes:
    """What goes into ``scheduled.mail``."""
    content = replace(email.content, html=None, text=None)
    return msgspec.json.encode(
        Kept(
            content, email.sender_domain, email.recipients, email.expires_at, email.on_unknown, bulk, trace, email.topic
        )
    )


def keep_bodies(content: Content) -> bytes:
    """What goes into ``scheduled_contents.body``."""
    return msgspec.json.encode(Bodies(content.html, content.text))


def kept(mail: bytes) -> Kept:
    """The other way round."""
    return _kept.decode(mail)


def whole_content(mail: Kept, body: bytes) -> Content:
    """The content with its html and text."""
    bodies = _bodies.decode(body)
    return replace(mail.content, html=bodies.html, text=bodies.text)


def check_expiry(expires_at: float | None, due: datetime) -> None:
    """Raise when an email would have expired before it is sent."""
    if expires_at is not None and expires_at <= due.timestamp():
        raise invalid("Invalid `expires_at` field: the email would expire before its `scheduled_at`.")


def not_open(state: ScheduleState, attempts: int, what: str) -> Refusal | None:
    """Why an email can no longer be changed; None when it can.

    Args:
        state: of its row.
        attempts: releases of it that were begun: it may be in the broker.
        what: that cannot be done with it: ``rescheduled``.
    """
    if state is ScheduleState.CANCELED:
        return invalid(f"This email cannot be {what} any more: it was canceled.")
    if state is ScheduleState.RELEASED or attempts:
        return invalid(f"This email cannot be {what} any more: it is being sent, or was.")
    return None


def as_row(row: Mapping[str, Any], body: bytes | None = None) -> dict[str, Any]:
    """A row of ``scheduled`` as the ledger would have it, with its deliveries.

    Args:
        row: of the table.
        body: of ``scheduled_contents``, when the email is to be shown whole.
    """
    mail = kept(row["mail"])
    content = mail.content if body is None else whole_content(mail, body)
    state = ScheduleState(row["state"])
    canceled = row["ended_at"] if state is ScheduleState.CANCELED else None
    first = mail.recipients[0]
    return {
        "id": row["id"],
        "created_at": row["created_at"],
        "lane": Lane(row["lane"]),
        "partition": partition_of(row["base"]),
        "sender": content.sender,
        "subject": content.subject,
        "html": content.html,
        "text": content.text,
        "syntax": content.syntax,
        "to": list(content.to) or [first.mailbox],
        "cc": list(content.cc),
        "bcc": list(content.bcc),
        "reply_to": list(content.reply_to),
        "tags": [msgspec.to_builtins(tag) for tag in content.tags],
        "metadata": first.metadata,
        "variables": first.variables,
        "message_id": f"{row['id']}@{mail.sender_domain}",
        "expires_at": mail.expires_at and datetime.fromtimestamp(mail.expires_at, UTC),
        "on_unknown": mail.on_unknown,
        "cancel_requested_at": canceled,
        "trace_id": UUID(mail.trace.split("-")[1]) if mail.trace else None,
        "scheduled_at": row["due_at"],
        "held_at": row["held_at"],
        "history": row["history"],
        "word": WORDS[state],
        "deliveries": [_delivery(row, recipient, state) for recipient in mail.recipients],
    }


def scheduled_facts(numbered: Numbered, created_at: datetime) -> dict[str, Any]:
    """What webhooks are told of an email that has just been scheduled: what is told of it later is of one address."""
    email = numbered.email
    content, first = email.content, email.recipients[0]
    fields = mail_fields(
        email_id=numbered.id,
        message_id=f"{numbered.id}@{email.sender_domain}",
        created_at=created_at,
        sender=content.sender,
        subject=content.subject,
        tags=[msgspec.to_builtins(tag) for tag in content.tags],
        variables=first.variables if content.syntax is Syntax.TEMPLATE else None,
    )
    return {**fields, "to": [recipient.address for recipient in email.recipients]}


def changes(history: str | bytes | None) -> Sequence[Change]:
    """What stands in ``scheduled.history``, oldest first."""
    return _history.decode(history) if history else ()


def _delivery(row: Mapping[str, Any], recipient: Recipient, state: ScheduleState) -> dict[str, Any]:
    unsent = state in {ScheduleState.SCHEDULED, ScheduleState.HELD}
    return {
        "id": delivery_id(row["id"], recipient.address),
        "address": recipient.address,
        "role": recipient.role,
        "state": "scheduled" if unsent else State.CANCELED if state is ScheduleState.CANCELED else State.ACCEPTED,
        "attempt": 0,
        "accepted_at": None,
        "updated_at": row["ended_at"] or row["held_at"] or row["created_at"],
        "ended_at": row["ended_at"] if state is ScheduleState.CANCELED else None,
        "next_attempt_at": row["due_at"] if state is ScheduleState.SCHEDULED else None,
        **dict.fromkeys(
            ("reply_code", "reply_enhanced", "reply_text", "reply_command", "trouble", "bounce_class", "site", "host")
        ),
    }
