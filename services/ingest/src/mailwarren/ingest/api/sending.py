"""What the three ways to send have in common: the template, the Idempotency-Key and the bytes of a yes."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from mailwarren.contracts.template import MAX_WORK
from mailwarren.contracts.unsubscribe import VARIABLES
from mailwarren.ingest.adapters.database import DatabaseDown
from mailwarren.ingest.api.answers.emails import RowProblem
from mailwarren.ingest.api.endpoint import Answer, Call
from mailwarren.ingest.domain.decoding import canonical, canonical_with_files
from mailwarren.ingest.domain.email import RowError, SendEmail
from mailwarren.ingest.domain.idempotency import check_key, fingerprint
from mailwarren.ingest.domain.list_mail import check_link, goes_to_list
from mailwarren.ingest.domain.refusal import invalid, unavailable
from mailwarren.ingest.domain.requests import EmailBody, TemplateRef
from mailwarren.ingest.domain.template_mail import template_email
from mailwarren.ingest.domain.templates import Version
from mailwarren.ingest.submit import Answered, Keyed

IDEMPOTENCY = "idempotency-key"
REPLAYED = (b"idempotent-replayed", b"true")


async def published(call: Call, reference: TemplateRef) -> Version:
    """The published version that a request names.

    Raises:
        Refusal: 422, there is none; 503, it cannot be read and is not known here.
    """
    try:
        version = await call.services.templates.published(call.key.tenant, reference.id)
    except DatabaseDown as error:
        raise unavailable("The template cannot be read right now. Try again; mail without one is accepted.") from error
    if version is None:
        raise invalid(
            f"Invalid `template.id` field: there is no published template with the id or alias "
            f"`{reference.id[:100]}`. POST /v1/templates/{{id}}/publish publishes one."
        )
    return version


async def filled(call: Call, body: EmailBody, reference: TemplateRef, work: int = MAX_WORK) -> SendEmail:
    """An email with a template.

    Raises:
        Refusal: as :func:`published`; 422, what is wrong with its variables.
    """
    version = await published(call, reference)
    email = template_email(body, version, work=work)
    if not VARIABLES.isdisjoint(version.required):
        check_link(listed=goes_to_list(email), made=call.services.unsubscribe.made)
    return email


async def check_topic(call: Call, topic: UUID) -> None:
    """Refuse a topic that the tenant does not have; while nobody can tell, it is taken.

    Raises:
        Refusal: 422.
    """
    try:
        unknown = await call.services.lists.topics.missing(call.key.tenant, [topic])
    except DatabaseDown:
        return
    if unknown is not None:
        raise invalid(f"Invalid `topic_id` field: there is no topic with the id {topic}.")


def keyed(call: Call, path: str, mode: str = "", *, files: bool = False) -> Keyed | None:
    """The Idempotency-Key of a call with the fingerprint of its request; None without the header.

    Raises:
        Refusal: 400, not a usable key.
    """
    key = call.header(IDEMPOTENCY)
    if key is None:
        return None
    return Keyed(check_key(key), fingerprint(path, mode, (canonical_with_files if files else canonical)(call.body)))


def yes(answered: Answered) -> Answer:
    """The response; a replayed one says so in a header."""
    return Answer(answered.status, answered.body, (REPLAYED,) if answered.replayed else ())


def encoded(value: msgspec.Struct, status: int) -> Answered:
    """The bytes of a yes."""
    return Answered(status, msgspec.json.encode(value))


def problems(errors: Sequence[RowError]) -> list[RowProblem]:
    """Row errors as the wire has them."""
    return [RowProblem(error.index, error.message) for error in errors]
