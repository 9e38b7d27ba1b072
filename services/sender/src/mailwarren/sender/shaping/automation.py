"""Carries out what reply rules ask for: limits that all senders keep for a time."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import structlog

from mailwarren.contracts.reply import Reply
from mailwarren.contracts.shaping import SAMPLE_LENGTH, Notice, Override, Scope, Sighting
from mailwarren.sender import metrics
from mailwarren.sender.domain.actions import Action, Counted, Sightings
from mailwarren.sender.domain.classify import ReplyRules, Rule
from mailwarren.sender.domain.in_force import InForce
from mailwarren.sender.smtp import SMARTHOST

TELL_EVERY = 1.0
"""Seconds between two sightings of the same that this process tells; what is seen meanwhile is told together."""
MOST_UNNAMED = 60
"""Overrides for sites without a row, in a minute, that this process lets all others know. They may be any number, as
when an address of ours is on a list that half of the world reads; what is beyond holds in this process alone."""

log = structlog.get_logger()


@dataclass(slots=True)
class _Seen:
    """Sightings that are not told yet, and the last reply that was one."""

    count: int
    reply: Reply | None
    sample: str


class Automation:
    """For one event loop.

    Args:
        in_force: What holds already: about that nothing is said again.
        replies: The rules in force.
        named: Whether a site has a row, and so limits that senders share.
        impose: Puts an override in force, here and (``known``) at all senders.
        say: Tells all senders of a sighting.
        tell_every: Seconds between two sightings of the same that are told.
    """

    def __init__(
        self,
        in_force: InForce,
        *,
        replies: Callable[[], ReplyRules],
        named: Callable[[str], bool],
        impose: Callable[..., None],
        say: Callable[[Notice], None],
        tell_every: float = TELL_EVERY,
    ) -> None:
        self._in_force = in_force
        self._replies = replies
        self._named = named
        self._impose = impose
        self._say = say
        self._tell_every = tell_every
        self._sightings = Sightings()
        self._untold: dict[Counted, _Seen] = {}
        self._by_key: tuple[ReplyRules, dict[str, Rule]] = ((), {})
        self._unnamed: deque[float] = deque(maxlen=MOST_UNNAMED)

    def seen(self, rule: Rule, site: str, tenant: UUID, reply: Reply) -> None:
        """A rule with an action read a reply of a site to mail of a tenant."""
        action = rule.action
        if action is None or (site == SMARTHOST and site not in rule.sites):
            # What a smarthost says is about whomever it sends on to, and its limits are the operator's.
            return
        about = str(tenant) if action.scope is Scope.TENANT else site
        if self._holds(rule, action, about):
            return
        sample = _written(reply)
        if action.after == 1:
            self._act(rule, action, about, sample, time.time())
        else:
            self._count((rule.key, site, tenant if action.scope is Scope.TENANT else None), reply, sample)

    def noticed(self, notice: Notice) -> None:
        """What a sender says to all: also what this one said."""
        if not isinstance(notice, Sighting):
            return
        # A sender with other rules, as while they change, counts what it knows.
        rule = self._rule(notice.rule)
        if rule is None or rule.action is None:
            return
        action, about = rule.action, str(notice.tenant) if notice.tenant else notice.site
        if self._holds(rule, action, about):
            return
        if self._sightings.add((notice.rule, notice.site, notice.tenant), action, notice.count, notice.at):
            self._act(rule, action, about, notice.sample, notice.at)

    # --- inside ---

    def _holds(self, rule: Rule, action: Action, about: str) -> bool:
        return any(
            action.made(override, rule.bounce_class)
            for override in self._in_force.active(action.scope, about, time.time())
        )

    def _act(self, rule: Rule, action: Action, about: str, sample: str, at: float) -> None:
        override = action.override(about, rule.bounce_class, rule.key, sample=sample, at=at)
        metrics.record_action(rule.bounce_class, action.name)
        log.warning(
            "sender.rule.acted",
            scope=override.scope, name=about, action=action.name, cause=override.cause, seconds=action.seconds,
            rate=action.rate, connections=action.connections, sample=sample,
        )  # fmt: skip
        self._impose(override, known=self._known(override))

    def _known(self, override: Override) -> bool:
        if override.scope is Scope.TENANT or self._named(override.name):
            return True
        now = time.monotonic()
        if len(self._unnamed) == MOST_UNNAMED and now - self._unnamed[0] < 60.0:  # noqa: PLR2004 - a minute
            return False
        self._unnamed.append(now)
        return True

    def _count(self, what: Counted, reply: Reply, sample: str) -> None:
        """Tell of a sighting now, or with others of the same in a moment."""
        seen = self._untold.get(what)
        if seen is None:
            self._untold[what] = _Seen(0, reply, sample)
            self._tell(what, 1, sample)
            asyncio.get_running_loop().call_later(self._tell_every, self._tell_more, what)
        # A host's refusal is handed to all who waited for a connection to it: that is one reply, and not so many.
        elif seen.reply is not reply:
            seen.count, seen.reply, seen.sample = seen.count + 1, reply, sample

    def _tell_more(self, what: Counted) -> None:
        seen = self._untold[what]
        if not seen.count:
            del self._untold[what]
            return
        self._tell(what, seen.count, seen.sample)
        seen.count = 0
        asyncio.get_running_loop().call_later(self._tell_every, self._tell_more, what)

    def _tell(self, what: Counted, count: int, sample: str) -> None:
        key, site, tenant = what
        self._say(Sighting(site, tenant, key, time.time(), count, sample))

    def _rule(self, key: str) -> Rule | None:
        rules = self._replies()
        if self._by_key[0] is not rules:
            self._by_key = (rules, {rule.key: rule for rule in rules})
        return self._by_key[1].get(key)


def _written(reply: Reply) -> str:
    """As the server wrote it, on one line."""
    return f"{reply.code} {f'{reply.enhanced} ' if reply.enhanced else ''}{reply.text}"[:SAMPLE_LENGTH]
