"""Cutting emails into parcels (DESIGN §4, stop 3): pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple
from uuid import UUID

import msgspec

from mailwarren.contracts.ids import delivery_id, partition_of
from mailwarren.contracts.parcel import PARCEL_SIZE, Content, Delivery, Parcel
from mailwarren.contracts.routing import domain_of
from mailwarren.contracts.shards import shard_of
from mailwarren.contracts.unsubscribe import Unsubscribe
from mailwarren.ingest.domain.email import Numbered, Recipient, SendEmail
from mailwarren.ingest.domain.list_mail import Left

Members = Sequence[tuple[Numbered, Recipient]]


class Plan(msgspec.Struct, frozen=True):
    """What all parcels of a request have in common.

    ``base`` is the id whose partition everything of the request goes through. ``request_id`` is set for bulk calls
    and broadcasts only. ``settle`` marks a keyed call, scheduled mail and broadcasts. ``trace`` is the call's
    ``traceparent``. ``created_at`` is when scheduled mail was asked for. ``broadcast`` is the one that it is a part of.
    """

    tenant: UUID
    base: UUID
    accepted_at: float
    request_id: UUID | None = None
    settle: bool = False
    trace: str | None = None
    created_at: float | None = None
    broadcast: UUID | None = None


class PlannedParcel(msgspec.Struct, frozen=True):
    """A parcel and the places in the request that it carries (an email may be spread over several parcels)."""

    parcel: Parcel
    indexes: frozenset[int]


class _Own(NamedTuple):
    """What a parcel has to itself, or with those of its content."""

    id: UUID
    content: Content
    unsubscribe: Unsubscribe | None


def plan_parcels(
    plan: Plan,
    emails: Iterable[Numbered],
    suppressed: AbstractSet[str],
    new_id: Callable[[], UUID],
    *,
    sign: Callable[[Content, str], Content] | None,
    left: Left | None = None,
) -> Iterator[PlannedParcel]:
    """Every delivery exactly once, in parcels of one lane, shard and content with at most 50 deliveries.

    A generator: the 10,000 deliveries of a bulk call take 100 ms to build, which nobody should have to wait for.

    Args:
        plan: what is common.
        emails: with their ids. Emails that share a content *object* (the rows of a bulk call) share parcels.
        suppressed: lower-case addresses that are recorded and not sent.
        new_id: makes the parcels' own ids.
        sign: says in a content which domain signs it, given the domain of its sender; None: nobody does. Asked once for
            each content. It has no default: mail that forgot to ask would go unsigned.
        left: who has left what goes to lists, and how others can. Asked once for each content.
    """
    groups: dict[tuple[str, int], dict[str, list[tuple[Numbered, Recipient]]]] = {}
    shards: dict[str, list[tuple[Numbered, Recipient]]] = {}
    before: SendEmail | None = None
    for numbered in emails:
        email = numbered.email
        if before is None or email.content is not before.content or email.lane is not before.lane:
            shards = groups.setdefault((email.lane.value, id(email.content)), {})
            before = email
        for recipient in email.recipients:
            shard = shard_of(domain_of(recipient.address))
            if (members := shards.get(shard)) is None:
                members = shards[shard] = []
            members.append((numbered, recipient))
    for shards in filter(None, groups.values()):
        email = next(iter(shards.values()))[0][0].email
        content = email.content if sign is None else sign(email.content, email.sender_domain)
        gone, unsubscribe = suppressed, None
        if left is not None:
            unsubscribe, more = left.of(email)
            gone = suppressed | more if more else suppressed
        for shard, members in shards.items():
            for chunk in _chunks(members):
                parcel = _parcel(plan, shard, chunk, gone, _Own(new_id(), content, unsubscribe))
                yield PlannedParcel(parcel, frozenset([numbered.index for numbered, _ in chunk]))


def _chunks(members: Members) -> Iterator[Members]:
    """As few as possible, and as equal: a broker that gives them out in turn gives every sender as much mail."""
    count, parcels = len(members), -(-len(members) // PARCEL_SIZE)
    for number in range(parcels):
        yield members[count * number // parcels : count * (number + 1) // parcels]


def _parcel(plan: Plan, shard: str, members: Members, suppressed: AbstractSet[str], own: _Own) -> Parcel:
    first: SendEmail = members[0][0].email
    return Parcel(
        id=own.id,
        tenant=plan.tenant,
        lane=first.lane,
        shard=shard,
        partition=partition_of(plan.base),
        content=own.content,
        deliveries=tuple([_delivery(numbered, recipient, suppressed) for numbered, recipient in members]),
        accepted_at=plan.accepted_at,
        request_id=plan.request_id,
        expires_at=first.expires_at,
        on_unknown=first.on_unknown,
        settle=plan.settle,
        trace=plan.trace,
        created_at=plan.created_at,
        broadcast=plan.broadcast,
        unsubscribe=own.unsubscribe,
    )


def _delivery(numbered: Numbered, recipient: Recipient, suppressed: AbstractSet[str]) -> Delivery:
    email_id = str(numbered.id)
    return Delivery(
        id=delivery_id(email_id, recipient.address),
        email_id=numbered.id,
        to=recipient.address,
        # Derived from the email's id, so that a repeated keyed call makes the same Message-ID.
        message_id=f"{email_id}@{numbered.email.sender_domain}",
        mailbox=recipient.mailbox,
        role=recipient.role,
        variables=recipient.variables,
        metadata=recipient.metadata,
        suppressed=recipient.key in suppressed,
    )
