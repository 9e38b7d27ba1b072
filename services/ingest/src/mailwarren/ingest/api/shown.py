"""Rows of the ledger as the API shows them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import OnUnknown, Role, Syntax
from mailwarren.contracts.template import TemplateProblem, render
from mailwarren.contracts.unsubscribe import VARIABLES
from mailwarren.ingest.api.answers.emails import DeliveryStatus, EmailShort, LastReply, Tag, TimelineEntry
from mailwarren.ingest.domain.scheduled import changes
from mailwarren.ingest.domain.status import last_event, seen_state

ACCEPTED = "accepted"
NO_LINKS = {name: f"{{{{{{{name}}}}}}}" for name in VARIABLES}
"""A reader's link is nobody else's to follow: it is shown as it is written."""


def shown_in_list(row: Any) -> EmailShort:
    """An element of a list; the row has ``states``."""
    word = row.get("word") or last_event(row["states"])
    return EmailShort(**_common(row), last_event=word, subject=row["subject"])


def is_template(row: Any) -> bool:
    """Whether the email's content has to be rendered to be shown."""
    return bool(row["syntax"] == Syntax.TEMPLATE)


def shown_email(row: Any, deliveries: Sequence[Any]) -> dict[str, Any]:
    """The fields of an email with its content; a bulk email's are rendered with its variables."""
    subject, html, text = row["subject"], row["html"], row["text"]
    if is_template(row):
        variables = NO_LINKS | (_json(row["variables"]) or {})
        subject = _rendered(subject, variables, html=False)
        html = html and _rendered(html, variables, html=True)
        text = text and _rendered(text, variables, html=False)
    word = row.get("word") or last_event(map(seen_state, deliveries))
    return _common(row) | {"subject": subject, "html": html, "text": text, "last_event": word}


def shown_delivery(row: Any) -> DeliveryStatus:
    """The state of one address."""
    return DeliveryStatus(
        id=row["id"],
        to=row["address"],
        role=Role(row["role"]) if row["role"] else None,
        state=row["state"],
        attempt=row["attempt"],
        updated_at=row["updated_at"],
        ended_at=row["ended_at"],
        next_attempt_at=row["next_attempt_at"],
        reply=shown_reply(row),
        opens=row.get("opens", 0),
        clicks=row.get("clicks", 0),
        opened_at=row.get("opened_at"),
        clicked_at=row.get("clicked_at"),
    )


def timeline(row: Any, deliveries: Sequence[Any], events: Sequence[Any]) -> list[TimelineEntry]:
    """What was done before its release, acceptances and events, oldest first."""
    address = {item["id"]: item["address"] for item in deliveries}
    entries = [
        TimelineEntry(at=one.at, kind=one.kind, delivery_id=item["id"], to=item["address"], next_attempt_at=one.due_at)
        for one in changes(row.get("history"))
        for item in deliveries
    ]
    entries += [_accepted(item) for item in deliveries if item["accepted_at"] is not None]
    entries += [_entry(event, address.get(event["delivery_id"])) for event in events]
    return sorted(entries, key=_moment)


def _accepted(row: Any) -> TimelineEntry:
    return TimelineEntry(at=row["accepted_at"], kind=ACCEPTED, delivery_id=row["id"], to=row["address"])


def _entry(row: Any, address: str | None) -> TimelineEntry:
    return TimelineEntry(
        at=row["at"],
        kind=row["kind"],
        delivery_id=row["delivery_id"],
        to=address,
        attempt=row["attempt"],
        reply=shown_reply(row),
        site=row["site"],
        duration=row["duration"],
        tls=row["tls"],
        tls_policy=row["tls_policy"],
        egress=row["egress"],
        reason=row["reason"],
        next_attempt_at=row["next_attempt_at"],
        link=row["link"],
        user_agent=row["agent"],
        flag=row["flag"],
        ip=row["ip"],
    )


def _moment(entry: TimelineEntry) -> tuple[datetime, int]:
    return entry.at, entry.attempt


def _common(row: Any) -> dict[str, Any]:
    return {
        "id": row["id"],
        "message_id": f"<{row['message_id']}>",
        "to": row["to"],
        "from_": row["sender"],
        "created_at": row["created_at"],
        "cc": row["cc"],
        "bcc": row["bcc"],
        "reply_to": row["reply_to"],
        "tags": [Tag(tag["name"], tag.get("value", "")) for tag in _json(row["tags"]) or []],
        "priority": Lane(row["lane"]),
        "metadata": _json(row["metadata"]) or {},
        "expires_at": row["expires_at"],
        "on_unknown": OnUnknown(row["on_unknown"]),
        "cancel_requested_at": row["cancel_requested_at"],
        "scheduled_at": row["scheduled_at"],
        "held_at": row.get("held_at"),
        "broadcast_id": row.get("broadcast_id"),
    }


def shown_reply(row: Any) -> LastReply | None:
    """What the server said last, None when nothing was tried."""
    if row["reply_code"] is None and row["trouble"] is None:
        return None
    return LastReply(
        code=row["reply_code"],
        enhanced=row["reply_enhanced"],
        text=row["reply_text"],
        command=row["reply_command"],
        trouble=row["trouble"],
        bounce_class=row["bounce_class"],
        host=row["host"],
    )


def _rendered(source: str, variables: dict[str, Any], *, html: bool) -> str:
    try:
        return render(source, variables, html=html)
    except TemplateProblem:
        # The delivery failed for the same reason; the template itself is the better answer.
        return source


def _json(value: Any) -> Any:
    return msgspec.json.decode(value) if isinstance(value, str) else value
