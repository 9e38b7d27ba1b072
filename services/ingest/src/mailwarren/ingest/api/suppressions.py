"""``/v1/suppressions``: who gets no mail, nothing that goes to lists, or nothing about a topic."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog

from mailwarren.contracts.unsubscribe import LISTS
from mailwarren.ingest.api.answers.suppressions import (
    SuppressionList,
    SuppressionListed,
    SuppressionNamed,
    SuppressionRemoved,
    SuppressionsAdded,
    SuppressionShown,
    SuppressionsImported,
    SuppressionsRemoved,
)
from mailwarren.ingest.api.body import ClientGone
from mailwarren.ingest.api.contacts import no_topic
from mailwarren.ingest.api.endpoint import Answer, Call, answer
from mailwarren.ingest.domain.cursor import Page, parse_page
from mailwarren.ingest.domain.decoding import decode
from mailwarren.ingest.domain.refusal import Refusal, invalid, invalid_parameter, missing, not_found
from mailwarren.ingest.domain.suppression_csv import SHOWN_ERRORS, BadRow, Reader, write, write_head
from mailwarren.ingest.domain.suppressions import (
    Entry,
    NewEntry,
    Scope,
    SuppressionBody,
    SuppressionsBody,
    SuppressionsRemoval,
    asked_origin,
    asked_topic,
    check_email,
    check_emails,
    check_end,
    parse_entry,
    topic_of,
)

log = structlog.get_logger()

AT_ONCE = 1000
"""Rows of a file that are written, or read, at once: other calls get their turn in between."""
SCOPES = ("scope", "topic_id")


async def add(call: Call) -> Answer:
    """``POST``: 200 also for an address that is on the list already."""
    body = decode(call.body, SuppressionBody)
    topic = await _topic(call, body.scope, body.topic_id)
    entry = NewEntry(check_email(body.email), check_end(body.expires_at, topic, datetime.now(UTC)))
    ids = await _add(call, topic, [entry])
    return answer(SuppressionNamed(id=ids[entry.address]))


async def add_batch(call: Call) -> Answer:
    """``POST …/batch/add``."""
    body = decode(call.body, SuppressionsBody)
    topic = await _topic(call, body.scope, body.topic_id)
    until = check_end(body.expires_at, topic, datetime.now(UTC))
    ids = await _add(call, topic, [NewEntry(address, until) for address in check_emails(body.emails)])
    return answer(SuppressionsAdded(data=[SuppressionNamed(id=ident) for ident in ids.values()]))


async def read(call: Call) -> Answer:
    """``GET`` one, by its id or its address."""
    entry = await _found(call)
    return answer(SuppressionShown(**_shown(entry)))


async def read_list(call: Call) -> Answer:
    """``GET`` a page."""
    page = parse_page(call.query, others=("origin", *SCOPES))
    origin, topic = asked_origin(call.query), asked_topic(call.query)
    if origin is not None and topic is not None:
        raise invalid_parameter("`origin` is for the scope `all`: who leaves a list has no other.")
    entries, more = page.cut(await call.services.suppressions.page(call.key.tenant, topic, page, origin))
    return answer(SuppressionList(has_more=more, data=[SuppressionListed(**_shown(entry)) for entry in entries]))


async def remove(call: Call) -> Answer:
    """``DELETE`` one, by its id or its address."""
    entry = await _found(call)
    if not await _remove(call, [entry]):
        raise _nobody(call)
    return answer(SuppressionRemoved(id=entry.id))


async def remove_batch(call: Call) -> Answer:
    """``POST …/batch/remove``: what is not on the list is left out of the answer."""
    body = decode(call.body, SuppressionsRemoval)
    if (body.emails is None) == (body.ids is None):
        raise missing("Missing `emails` or `ids` field: give one of the two.")
    if body.ids is not None:
        if body.scope is not None or body.topic_id is not None:
            raise invalid("Invalid `scope` field: an id has its own.")
        if not 0 < len(body.ids) <= 100:  # noqa: PLR2004 - as the public API has it
            raise invalid(f"Invalid `ids` field: {len(body.ids)} ids; 1 to 100 are taken.")
        entries = await call.services.suppressions.by_ids(call.key.tenant, body.ids)
    else:
        topic = topic_of(body.scope, body.topic_id)
        addresses = check_emails(body.emails or [])
        entries = await call.services.suppressions.by_addresses(call.key.tenant, addresses, topic)
    gone = await _remove(call, entries)
    return answer(SuppressionsRemoved(data=[SuppressionRemoved(id=entry.id) for entry in gone]))


async def write_csv(call: Call) -> Answer:
    """``GET …/csv``: all of a scope, the newest first."""
    if unknown := set(call.query).difference(SCOPES):
        raise invalid_parameter(f"Unknown query parameters: {', '.join(sorted(unknown))}; there are scope, topic_id.")
    topic = asked_topic(call.query)
    headers = ((b"content-disposition", b'attachment; filename="suppressions.csv"'),)
    return Answer(200, b"", headers, _pieces(call, topic))


async def read_csv(call: Call) -> Answer:
    """``POST …/csv``: a file as it comes in; what was written of one that is cut short stays written."""
    if unknown := set(call.query).difference(SCOPES):
        raise invalid_parameter(f"Unknown query parameters: {', '.join(sorted(unknown))}; there are scope, topic_id.")
    topic = asked_topic(call.query)
    await _known(call, topic)
    reader, rows, wrong, over = Reader(), 0, 0, 0
    errors: list[BadRow] = []
    now = datetime.now(UTC)
    async for piece, last in _body(call):
        entries, bad = reader.feed(piece, last=last)
        for entry in entries:
            if entry.expires_at is not None and topic is not None:
                raise invalid("Column `expires_at`: who leaves a list has left it until they come back. Leave it out.")
        wrong += len(bad)
        errors += bad[: SHOWN_ERRORS - len(errors)]
        standing = [entry for entry in entries if entry.expires_at is None or entry.expires_at > now]
        rows += len(standing)
        over += len(entries) - len(standing)
        for start in range(0, len(standing), AT_ONCE):
            await _add(call, topic, standing[start : start + AT_ONCE], imported=True)
    log.info("ingest.suppressions.imported", tenant=str(call.key.tenant), rows=rows, invalid=wrong)
    return answer(SuppressionsImported(rows=rows, expired=over, invalid=wrong, ignored=reader.ignored, errors=errors))


async def _body(call: Call) -> AsyncIterator[tuple[bytes, bool]]:
    if call.receive is None:
        raise TypeError("the endpoint does not read its body itself")
    more = True
    while more:
        message = await call.receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        more = message.get("more_body", False)
        yield message.get("body", b""), not more


async def _pieces(call: Call, topic: UUID | None) -> AsyncIterator[bytes]:
    yield write_head()
    page = Page(AT_ONCE)
    while True:
        entries = await call.services.suppressions.page(call.key.tenant, topic, page)
        shown, more = page.cut(entries)
        if shown:
            yield write(shown)
        if not more:
            return
        page = Page(AT_ONCE, after=shown[-1].id)


async def _add(
    call: Call, topic: UUID | None, entries: Sequence[NewEntry], *, imported: bool = False
) -> dict[str, UUID]:
    # Of two with one address, the one that holds longer.
    kept: dict[str, NewEntry] = {}
    for entry in entries:
        before = kept.get(entry.address)
        if before is None or (before.expires_at and (not entry.expires_at or entry.expires_at > before.expires_at)):
            kept[entry.address] = entry
    tenant = call.key.tenant
    ids = await call.services.suppressions.add(tenant, topic, list(kept.values()), imported=imported)
    ends: dict[datetime | None, list[str]] = {}
    for entry in kept.values():
        ends.setdefault(entry.expires_at, []).append(entry.address)
    for until, addresses in ends.items():
        await call.services.told.suppressed(tenant, topic, addresses, until)
    return ids


async def _remove(call: Call, entries: Sequence[Entry]) -> list[Entry]:
    tenant = call.key.tenant
    gone = await call.services.suppressions.remove(tenant, entries)
    for topic in dict.fromkeys(entry.topic for entry in gone):
        await call.services.told.wanted(tenant, topic, [entry.address for entry in gone if entry.topic == topic])
    if gone:
        log.info("ingest.suppressions.removed", tenant=str(tenant), by=str(call.key.id), entries=len(gone))
    return gone


async def _found(call: Call) -> Entry:
    asked = parse_entry(call.path["id_or_email"])
    if unknown := set(call.query).difference(SCOPES):
        raise invalid_parameter(f"Unknown query parameters: {', '.join(sorted(unknown))}; there are scope, topic_id.")
    entry = await call.services.suppressions.find(call.key.tenant, asked, asked_topic(call.query))
    if entry is None:
        raise _nobody(call)
    return entry


def _nobody(call: Call) -> Refusal:
    return not_found(f"{call.path['id_or_email'][:300]} is not on the suppression list.")


async def _topic(call: Call, scope: Scope | None, topic_id: UUID | None) -> UUID | None:
    topic = topic_of(scope, topic_id)
    await _known(call, topic)
    return topic


async def _known(call: Call, topic: UUID | None) -> None:
    if topic is None or topic == LISTS:
        return
    if await call.services.lists.topics.missing(call.key.tenant, [topic]) is not None:
        raise no_topic(topic)


def _shown(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "email": entry.address,
        "origin": entry.origin,
        "source_id": entry.source,
        "created_at": entry.created_at,
        "scope": entry.scope,
        "topic_id": entry.topic if entry.scope is Scope.TOPIC else None,
        "reason": entry.reason,
        "expires_at": entry.expires_at,
    }
