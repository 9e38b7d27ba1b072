"""Broadcasts: one content to all of a segment. What a caller may say about one, and what is kept of it. Pure."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from mailwarren.contracts.lanes import Lane
from mailwarren.ingest.domain.headers import check_value
from mailwarren.ingest.domain.refusal import Refusal, invalid, missing
from mailwarren.ingest.domain.requests import Addresses, ScheduledAt, TemplateRef
from mailwarren.ingest.domain.template_mail import given_variables
from mailwarren.ingest.domain.texts import check_text
from mailwarren.ingest.domain.validation import MAX_RECIPIENTS, check_bodies, check_mailbox, check_mailboxes, listed
from mailwarren.store.states import BroadcastState, State

MAX_NAME = 200
MAX_PREVIEW = 500
MAX_GIVEN = 4096
"""Bytes of JSON of a template's variables: they travel with each mail."""
MAX_TESTS = 10
"""Addresses of one test send."""
COPY = " (copy)"
RESENDABLE = (State.FAILED, State.EXPIRED)
"""How deliveries ended that a resend is for, unless it names others."""

_Audience = Annotated[UUID | None, Meta(description="The older name of `segment_id`.")]
_Template = Annotated[
    TemplateRef | None, Meta(description="Ours: a published template instead of `html` and `text`, read at `send`.")
]
_Lane = Annotated[Lane | None, Meta(description="Ours: the lane; `bulk`.")]


class BroadcastBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``POST /v1/broadcasts``. ``from`` and ``subject`` are required unless a ``template`` has a default for them."""

    from_: str | None = msgspec.field(name="from", default=None)
    subject: str | None = None
    segment_id: Annotated[UUID | None, Meta(description="Required: whom it is sent to.")] = None
    audience_id: _Audience = None
    reply_to: Addresses | None = None
    html: str | None = None
    text: str | None = None
    name: Annotated[str | None, Meta(description="For people; the subject unless given.")] = None
    preview_text: Annotated[str | None, Meta(description="Shown by mail programs beside the subject.")] = None
    topic_id: Annotated[UUID | None, Meta(description="Only to contacts that take this topic.")] = None
    send: Annotated[bool | None, Meta(description="Send it now, or at `scheduled_at`.")] = None
    scheduled_at: ScheduledAt | None = None
    template: _Template = None
    priority: _Lane = None


class BroadcastChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``PATCH /v1/broadcasts/{id}``: what is absent stays; null takes away what may be absent."""

    broadcast_id: Annotated[UUID | None, Meta(description="As in the path; SDKs repeat it here.")] = None
    from_: str | UnsetType | None = msgspec.field(name="from", default=UNSET)
    subject: str | UnsetType | None = UNSET
    segment_id: UUID | UnsetType = UNSET
    audience_id: UUID | UnsetType = UNSET
    reply_to: Addresses | UnsetType | None = UNSET
    html: str | UnsetType | None = UNSET
    text: str | UnsetType | None = UNSET
    name: str | UnsetType | None = UNSET
    preview_text: str | UnsetType | None = UNSET
    topic_id: UUID | UnsetType | None = UNSET
    template: Annotated[TemplateRef | UnsetType | None, Meta(description="Ours.")] = UNSET
    priority: Annotated[Lane | UnsetType | None, Meta(description="Ours.")] = UNSET


class BroadcastSend(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``POST /v1/broadcasts/{id}/send``."""

    broadcast_id: Annotated[UUID | None, Meta(description="As in the path; SDKs repeat it here.")] = None
    scheduled_at: ScheduledAt | None = None


class BroadcastSample(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``POST /v1/broadcasts/{id}/preview`` (ours)."""

    contact: Annotated[str | None, Meta(description="An id or an address; without it the fallbacks show.")] = None


class BroadcastTest(BroadcastSample, forbid_unknown_fields=True, kw_only=True):
    """``POST /v1/broadcasts/{id}/test`` (ours)."""

    to: Annotated[Addresses, Meta(description=f"1 to {MAX_TESTS} addresses.")]


class BroadcastResend(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``POST /v1/broadcasts/{id}/resend`` (ours)."""

    states: Annotated[
        list[Literal["failed", "expired", "bounced"]] | None,
        Meta(description="Whose mail ended so gets another; `failed` and `expired` unless given."),
    ] = None


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wrote, checked."""

    name: str
    segment: UUID
    topic: UUID | None
    lane: Lane
    sender: str | None
    subject: str | None
    reply_to: tuple[str, ...]
    preview_text: str
    html: str | None
    text: str | None
    template: TemplateRef | None


def check_new(body: BroadcastBody) -> Draft:
    """A new broadcast.

    Raises:
        Refusal: 422 naming the field.
    """
    if body.scheduled_at is not None and not body.send:
        raise invalid("Invalid `scheduled_at` field: it has a meaning with `send: true` only.")
    for field, value in (("from", body.from_), ("subject", body.subject)):
        if value is None and body.template is None:
            raise missing(f"Missing `{field}` field.")
    segment = _one_segment(body.segment_id, body.audience_id)
    if segment is None:
        raise missing("Missing `segment_id` field: whom the broadcast is sent to.")
    return _checked(
        Draft(
            # A subject may have a tab.
            name=" ".join((body.subject or "").split())[:MAX_NAME] if body.name is None else body.name,
            segment=segment,
            topic=body.topic_id,
            lane=body.priority or Lane.BULK,
            sender=body.from_,
            subject=body.subject,
            reply_to=tuple(listed(body.reply_to)),
            preview_text=body.preview_text or "",
            html=body.html,
            text=body.text,
            template=body.template,
        )
    )


def check_change(before: Draft, body: BroadcastChange) -> Draft:
    """A draft as a change makes it.

    Raises:
        Refusal: 422 naming the field.
    """

    def kept(value: Any, other: Any) -> Any:
        return other if value is UNSET else value

    given = _one_segment(*(None if one is UNSET else one for one in (body.segment_id, body.audience_id)))
    return _checked(
        Draft(
            name=kept(body.name, before.name) or "",
            segment=given or before.segment,
            topic=kept(body.topic_id, before.topic),
            lane=kept(body.priority, before.lane) or Lane.BULK,
            sender=kept(body.from_, before.sender),
            subject=kept(body.subject, before.subject),
            reply_to=before.reply_to if body.reply_to is UNSET else tuple(listed(body.reply_to)),
            preview_text=kept(body.preview_text, before.preview_text) or "",
            html=kept(body.html, before.html),
            text=kept(body.text, before.text),
            template=kept(body.template, before.template),
        )
    )


def check_tests(to: Addresses) -> list[str]:
    """The addresses of a test send.

    Raises:
        Refusal: 422.
    """
    addresses = listed(to)
    if not 0 < len(addresses) <= MAX_TESTS:
        raise invalid(f"Invalid `to` field: 1 to {MAX_TESTS} addresses.")
    return [box.address for box in check_mailboxes(addresses, "to")]


def check_named(given: UUID | None, ident: UUID) -> None:
    """Raise 422 when a body names another broadcast than the path."""
    if given is not None and given != ident:
        raise invalid("Invalid `broadcast_id` field: it is not the id of the path.")


def not_possible(state: BroadcastState, what: str, wanted: Sequence[BroadcastState]) -> Refusal:
    """Why something cannot be done with a broadcast."""
    words = ", ".join(wanted)
    return invalid(f"This broadcast cannot be {what}: it is {state}, and that is for one that is {words}.")


def _one_segment(segment: UUID | None, audience: UUID | None) -> UUID | None:
    if segment is not None and audience is not None and segment != audience:
        raise invalid("`segment_id` and `audience_id` are two names of one thing: give one of them.")
    return segment or audience


def _checked(draft: Draft) -> Draft:
    boxes = check_mailboxes(draft.reply_to, "reply_to")
    if len(boxes) > MAX_RECIPIENTS:
        raise invalid(f"Invalid `reply_to` field: more than {MAX_RECIPIENTS} addresses.")
    html, text = draft.html or None, draft.text or None
    if draft.template is not None:
        if html or text:
            raise invalid("Invalid `template` field: `html` and `text` are the template's. Remove one.")
        given_variables(draft.template.variables, most=MAX_GIVEN)
    check_bodies(html, text)
    return msgspec.structs.replace(
        draft,
        name=check_text(draft.name.strip(), "name", MAX_NAME),
        sender=check_mailbox(draft.sender, "from").text() if draft.sender else None,
        subject=check_value(draft.subject, "subject") if draft.subject else None,
        reply_to=tuple(box.text() for box in boxes),
        preview_text=check_text(draft.preview_text, "preview_text", MAX_PREVIEW),
        html=html,
        text=text,
    )
