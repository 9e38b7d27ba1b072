"""Payloads of webhooks, as the typed dictionaries of PyPI's ``resend`` (``resend.webhooks``) describe them.

What stands in a row of ``webhook_deliveries`` and what its email says do not change, so a payload is the same, to the
octet, on every try and for everybody who makes it.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from mailwarren.contracts.parcel import Syntax
from mailwarren.contracts.template import TemplateProblem, render


def moment_text(at: datetime) -> str:
    """A time in payloads: ISO 8601, in UTC, to the millisecond."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def mail_fields(
    *,
    email_id: UUID,
    message_id: str,
    created_at: datetime,
    sender: str,
    subject: str,
    tags: Iterable[Mapping[str, str]],
    variables: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What each event of an email says about the email.

    Args:
        email_id: its id.
        message_id: without angle brackets.
        created_at: when the API was asked for it.
        sender: From.
        subject: as it was given.
        tags: each with ``name`` and ``value``.
        variables: of a subject that is a template; None for one that is not.
    """
    fields: dict[str, Any] = {
        "email_id": str(email_id),
        "message_id": f"<{message_id}>",
        "created_at": moment_text(created_at),
        "from": sender,
        "subject": subject if variables is None else _rendered(subject, variables),
    }
    if named := {tag["name"]: tag.get("value", "") for tag in tags}:
        fields["tags"] = named
    return fields


def stored_mail_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """:func:`mail_fields` of a row of ``emails``.

    Args:
        row: ``email_id``, ``message_id``, ``mail_at`` (its ``created_at``), ``sender``, ``subject``, ``tags``,
            ``variables``, and ``syntax`` of its content.
    """
    template = row["syntax"] == Syntax.TEMPLATE
    return mail_fields(
        email_id=row["email_id"],
        message_id=row["message_id"],
        created_at=row["mail_at"],
        sender=row["sender"],
        subject=row["subject"],
        tags=stored_json(row["tags"]) or (),
        variables=(stored_json(row["variables"]) or {}) if template else None,
    )


def payload_of(kind: str, at: datetime, data: Mapping[str, Any], mail: Mapping[str, Any] | None = None) -> bytes:
    """The body of a webhook's request.

    Args:
        kind: an :class:`~mailwarren.contracts.webhooks.EventType`.
        at: when it happened.
        data: what is told of it.
        mail: of an email's event, :func:`mail_fields`.
    """
    return msgspec.json.encode({"type": kind, "created_at": moment_text(at), "data": {**(mail or {}), **data}})


def _rendered(subject: str, variables: Mapping[str, Any]) -> str:
    try:
        return render(subject, dict(variables), html=False)
    except TemplateProblem:
        # The mail failed for the same reason.
        return subject


def stored_json(value: Any) -> Any:
    """A value of a JSON column, which some connections decode and others leave as text."""
    return msgspec.json.decode(value) if isinstance(value, str) else value
