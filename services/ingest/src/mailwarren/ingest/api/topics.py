"""``/v1/topics``: subjects of mail that contacts can take or leave."""

from typing import Any

import structlog
from msgspec import UNSET

from mailwarren.ingest.api.answers.topics import TopicDeleted, TopicList, TopicNamed, TopicShown
from mailwarren.ingest.api.contacts import no_topic
from mailwarren.ingest.api.endpoint import Answer, Call, answer
from mailwarren.ingest.domain.cursor import parse_id, parse_page
from mailwarren.ingest.domain.decoding import decode
from mailwarren.ingest.domain.refusal import invalid
from mailwarren.ingest.domain.texts import check_name, check_text
from mailwarren.ingest.domain.topics import MAX_DESCRIPTION, MAX_NAME, MAX_TOPICS, TopicBody, TopicChange
from mailwarren.store.states import Subscription, Visibility

log = structlog.get_logger()


async def create(call: Call) -> Answer:
    """``POST /v1/topics``."""
    body = decode(call.body, TopicBody)
    ident = await call.services.lists.create_topic(
        call.key.tenant,
        check_name(body.name, "name", MAX_NAME),
        check_text(body.description or "", "description", MAX_DESCRIPTION),
        body.default_subscription,
        body.visibility or Visibility.PRIVATE,
    )
    if ident is None:
        raise invalid(f"There are {MAX_TOPICS} topics; more are not possible. Delete one first.")
    return answer(TopicNamed(id=ident), 201)


async def read(call: Call) -> Answer:
    """``GET /v1/topics/{id}``."""
    ident = parse_id(call.path["id"])
    row = await call.services.lists.topics.get(call.key.tenant, ident)
    if row is None:
        raise no_topic(ident)
    return answer(_shown(row))


async def read_list(call: Call) -> Answer:
    """``GET /v1/topics``: all of them unless there is a ``limit``."""
    page = parse_page(call.query, default=None)
    shown, more = page.cut(await call.services.lists.topics.page(call.key.tenant, page))
    return answer(TopicList(has_more=more, data=[_shown(row) for row in shown]))


async def update(call: Call) -> Answer:
    """``PATCH /v1/topics/{id}``."""
    ident = parse_id(call.path["id"])
    change = decode(call.body, TopicChange)
    if change.name is not UNSET:
        change.name = check_name(change.name, "name", MAX_NAME)
    if isinstance(change.description, str):
        check_text(change.description, "description", MAX_DESCRIPTION)
    if not await call.services.lists.update_topic(call.key.tenant, ident, change):
        raise no_topic(ident)
    return answer(TopicNamed(id=ident))


async def delete(call: Call) -> Answer:
    """``DELETE /v1/topics/{id}``."""
    ident = parse_id(call.path["id"])
    if not await call.services.lists.delete_topic(call.key.tenant, ident):
        raise no_topic(ident)
    log.info("ingest.topic.deleted", topic=str(ident), tenant=str(call.key.tenant), by=str(call.key.id))
    return answer(TopicDeleted(id=ident))


def _shown(row: Any) -> TopicShown:
    return TopicShown(
        id=row["id"],
        name=row["name"],
        description=row["description"],
        default_subscription=Subscription(row["default_subscription"]),
        visibility=Visibility(row["visibility"]),
        created_at=row["created_at"],
    )
