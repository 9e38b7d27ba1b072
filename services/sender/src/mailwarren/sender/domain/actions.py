"""What a reply rule does beside naming a bounce class: limits for a time, at once or after so many sightings."""

from collections import OrderedDict, deque
from dataclasses import dataclass
from uuid import UUID

from mailwarren.contracts.ids import override_id
from mailwarren.contracts.shaping import SAMPLE_LENGTH, Override, Scope

WINDOW = 60
"""Seconds: senders that see the same within one minute of the clock write the same override."""
MOST_COUNTED = 10_000
"""Rules by site that are counted at once; those not seen for longest are forgotten."""


@dataclass(frozen=True, slots=True)
class Action:
    """What is in force for ``seconds`` after a reply: a suspension, or limits of the site.

    Attributes:
        seconds: How long.
        scope: The site, or the tenant whose mail it was.
        suspend: Nothing is sent.
        rate: Mails a second.
        connections: At once.
        after: So many sightings are needed,
        within: in so many seconds.
    """

    seconds: float
    scope: Scope = Scope.SITE
    suspend: bool = False
    rate: float | None = None
    connections: int | None = None
    after: int = 1
    within: float = 0.0

    @property
    def name(self) -> str:
        """In metrics: ``suspend``, ``suspend_tenant`` or ``limit``."""
        if self.scope is Scope.TENANT:
            return "suspend_tenant"
        return "suspend" if self.suspend else "limit"

    def override(self, about: str, rule: str, key: str, *, sample: str, at: float) -> Override:
        """What is put in force.

        Args:
            about: The site's or the tenant's name.
            rule: The bounce class of the rule.
            key: What tells the rule from others of its class.
            sample: The reply.
            at: When it was seen: senders that were told of one sighting write the same entry.
        """
        return Override(
            override_id(self.scope, about, key, int(at // WINDOW)),
            self.scope,
            about,
            at,
            at + self.seconds,
            suspend=self.suspend,
            connections=self.connections,
            rate=self.rate,
            cause=cause_of(rule),
            sample=sample[:SAMPLE_LENGTH],
        )

    def made(self, override: Override, rule: str) -> bool:
        """Whether an override is what this does for a rule of that bounce class."""
        return (override.cause, override.suspend, override.connections, override.rate) == (
            cause_of(rule),
            self.suspend,
            self.connections,
            self.rate,
        )


def cause_of(rule: str) -> str:
    """The cause of an override that a rule of this bounce class made."""
    return f"rule:{rule}"


Counted = tuple[str, str, UUID | None]
"""A rule's key, a site, and the tenant where the action is about one."""


class Sightings:
    """Counts what was seen in a sliding window, with bounded memory."""

    def __init__(self) -> None:
        self._seen: OrderedDict[Counted, deque[tuple[float, int]]] = OrderedDict()

    def add(self, what: Counted, action: Action, count: int, now: float) -> bool:
        """Count, and say whether it is enough; then counting begins anew."""
        seen = self._seen.setdefault(what, deque(maxlen=action.after))
        self._seen.move_to_end(what)
        seen.append((now, count))
        while seen[0][0] < now - action.within:
            seen.popleft()
        if sum(many for _, many in seen) >= action.after:
            del self._seen[what]
            return True
        if len(self._seen) > MOST_COUNTED:
            self._seen.popitem(last=False)
        return False
