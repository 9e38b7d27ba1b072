"""Broadcasts as they are read: one, a list, its statistics and its recipients."""

from collections.abc import Mapping
from typing import Any

import msgspec

from mailwarren.contracts.bounces import NO_CLASS, TRANSIENT, bounce_type
from mailwarren.contracts.tracking import HitKind
from mailwarren.ingest.api.answers.broadcasts import (
    AudienceShown,
    BroadcastList,
    BroadcastRecipient,
    BroadcastRecipients,
    BroadcastShown,
    BroadcastStats,
    ClickedLink,
    ClickedLinks,
    RecipientLink,
)
from mailwarren.ingest.api.broadcasts import found
from mailwarren.ingest.api.endpoint import Answer, Call, answer
from mailwarren.ingest.domain.addresses import composed
from mailwarren.ingest.domain.cursor import parse_page
from mailwarren.ingest.domain.refusal import invalid_parameter
from mailwarren.store.states import ENDS, BroadcastState, State

NOT_YET = frozenset({"complained"})
_COUNTS = {HitKind.OPENED: "opens", HitKind.CLICKED: "clicks"}
_SEEN = frozenset({*HitKind, "unsubscribed"})
_SENT = [state for state in State if state not in {State.SUPPRESSED, State.CANCELED}]


async def read(call: Call) -> Answer:
    """``GET /v1/broadcasts/{id}``."""
    row = await found(call)
    return answer(BroadcastShown(**_common(row), html=row["html"], text=row["text"]))


async def read_list(call: Call) -> Answer:
    """``GET /v1/broadcasts``: a page, or all without a ``limit``."""
    page = parse_page(call.query, default=None)
    shown, more = page.cut(await call.services.broadcasts.page(call.key.tenant, page))
    return answer(BroadcastList(has_more=more, data=[BroadcastShown(**_common(row)) for row in shown]))


async def read_stats(call: Call) -> Answer:
    """``GET /v1/broadcasts/{id}/stats``."""
    row = await found(call)
    states = await call.services.broadcasts.states(call.key.tenant, row["id"])
    audience = row["audience"] and msgspec.json.decode(row["audience"], type=AudienceShown)
    published = row["published"]
    most = max(audience.recipients, published) if audience else 0
    return answer(
        BroadcastStats(
            id=row["id"],
            status=row["state"],
            audience=audience,
            published=published,
            progress=round(published / most, 4) if most else None,
            recipients=sum(states.values()),
            queued=sum(count for state, count in states.items() if state not in ENDS),
            delivered=states.get(State.DELIVERED, 0),
            bounced=states.get(State.BOUNCED, 0),
            failed=states.get(State.FAILED, 0) + states.get(State.EXPIRED, 0),
            suppressed=states.get(State.SUPPRESSED, 0),
            canceled=states.get(State.CANCELED, 0),
            states={state.value: states.get(state, 0) for state in State},
            scheduled_at=row["due_at"],
            started_at=row["started_at"],
            ended_at=row["ended_at"],
            trouble=row["trouble"],
        )
    )


async def read_recipients(call: Call) -> Answer:
    """``GET /v1/broadcasts/{id}/recipients``."""
    query = call.query
    kind, address, bounce = (query.pop(name, None) for name in ("type", "email", "bounce_type"))
    page = parse_page(query)
    if address is not None and "\x00" in address:
        raise invalid_parameter("The `email` parameter contains a NUL character, which no address has.")
    classes, other_than = _classes(kind, bounce)
    row = await found(call)
    rows = await call.services.broadcasts.recipients(
        call.key.tenant,
        row["id"],
        page,
        _states(kind),
        address=None if address is None else composed(address),
        classes=classes,
        other_than=other_than,
        seen=kind if kind in _SEEN else None,
    )
    shown, more = page.cut(rows)
    clicked = await call.services.broadcasts.clicked_by(call.key.tenant, shown) if kind == HitKind.CLICKED else None
    data = [BroadcastRecipient(**_recipient(one, kind, clicked)) for one in shown]
    return answer(BroadcastRecipients(has_more=more, data=data))


def _recipient(row: Any, kind: str | None, clicked: Mapping[Any, list[Any]] | None) -> dict[str, Any]:
    shown = {"id": row["id"], "contact_id": row["contact"], "email": row["address"]}
    if kind == State.BOUNCED:
        shown["bounce_type"] = bounce_type(row["bounce_class"]).value
    if kind in _COUNTS:
        shown["count"] = row[_COUNTS[HitKind(kind)]]
    if clicked is not None:
        links = clicked.get(row["id"], [])
        shown["clicked_links"] = [RecipientLink(one["url"], one["clicks"]) for one in links]
    return shown


async def read_clicked_links(call: Call) -> Answer:
    """``GET /v1/broadcasts/{id}/clicked-links``: a page, or all without a ``limit``."""
    page = parse_page(call.query, default=None)
    row = await found(call)
    shown, more = page.cut(await call.services.broadcasts.clicked_links(call.key.tenant, row["id"], page))
    return answer(ClickedLinks(has_more=more, data=[ClickedLink(**dict(one)) for one in shown]))


def _states(kind: str | None) -> list[str]:
    if kind in NOT_YET:
        raise invalid_parameter(f"The `type` {kind} is not supported yet: this version does not track it.")
    if kind in _SEEN:
        return [*State]
    if kind == "sent":
        return [*_SENT]
    if kind is None or kind not in set(State):
        words = ", ".join(["sent", *sorted(_SEEN), *sorted(State)])
        raise invalid_parameter(f"The `type` parameter is one of {words}.")
    return [kind]


def _classes(kind: str | None, bounce: str | None) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """The classes of bounces that are wanted, and those that are not."""
    if bounce is None:
        return None, None
    if kind != State.BOUNCED:
        raise invalid_parameter("The `bounce_type` parameter has a meaning with `type=bounced` only.")
    match bounce:
        case "transient":
            return TRANSIENT, None
        case "undetermined":
            return NO_CLASS, None
        case "permanent":
            return None, (*TRANSIENT, *NO_CLASS)
        case _:
            raise invalid_parameter("The `bounce_type` parameter is `permanent`, `transient` or `undetermined`.")


def _common(row: Any) -> dict[str, Any]:
    template = row["template"]
    return {
        "id": row["id"],
        "name": row["name"],
        "segment_id": row["segment"],
        "audience_id": row["segment"],
        "topic_id": row["topic"],
        "from_": row["sender"] or "",
        "subject": row["subject"] or "",
        "reply_to": row["reply_to"],
        "preview_text": row["preview_text"],
        "status": BroadcastState(row["state"]),
        "created_at": row["created_at"],
        "scheduled_at": row["due_at"],
        "sent_at": row["ended_at"] if row["state"] == BroadcastState.SENT else None,
        "template": template and msgspec.json.decode(template),
        "priority": row["lane"],
        "resend_of": row["resend_of"],
        "trouble": row["trouble"],
    }
