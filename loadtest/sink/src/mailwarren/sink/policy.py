"""What the script says to each step of a transaction: decisions, and the memory of earlier attempts they need.

Shares are not drawn from a random stream: they are a hash of (seed, rule, recipient, attempt), so that a run repeats
itself however its connections interleave, and every new attempt is a new draw. Lengths of waits do come from a
stream, for each persona its own.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from mailwarren.sink import reply as replies
from mailwarren.sink.persona import Persona, Stage
from mailwarren.sink.role import GO_ON, Role, Verdict
from mailwarren.sink.script import Script
from mailwarren.sink.sites import Site, Sites
from mailwarren.sink.visit import Host, Visit

_ROLES_REMEMBERED = 100_000  # domains whose persona is cached; a run with more only matches globs again


class Recipient(NamedTuple):
    """An accepted RCPT: the address as given, its domain in lower case, who answers for it, and which try this is."""

    address: bytes
    domain: bytes
    role: Role | None = None
    attempt: int = 1


class Memory:
    """What a script remembers of earlier attempts, and at its end forgets.

    Only recipients whose persona needs it are remembered: a sink that merely counts stays small.
    """

    def __init__(self) -> None:
        self._attempts: dict[bytes, int] = {}
        self._first_tries: dict[bytes, float] = {}

    def __len__(self) -> int:
        return len(self._attempts)

    def attempt(self, key: bytes) -> int:
        """Count one more attempt; returns which one it is, from 1."""
        attempt = self._attempts.get(key, 0) + 1
        self._attempts[key] = attempt
        return attempt

    def first_try(self, key: bytes, now: float) -> float:
        """When this was tried first."""
        return self._first_tries.setdefault(key, now)


class Policy:
    """A script being played: its personas, behind those that its timeline has put in front for now.

    Args:
        script: what is played.
        sites: where connections and recipients are counted, for the limits.
        memory: of earlier attempts; without it the script starts without any.
        in_front: personas of the timeline that are in force, each with what tells its draws from others'.
    """

    def __init__(
        self,
        script: Script,
        *,
        sites: Sites | None = None,
        memory: Memory | None = None,
        in_front: Sequence[tuple[str, Persona]] = (),
    ) -> None:
        self.script = script
        self.memory = Memory() if memory is None else memory
        self._sites = Sites() if sites is None else sites
        personas = [*in_front, *((str(at), persona) for at, persona in enumerate(script.personas))]
        self._roles = [Role(p, where, script.seed, self._sites.persona(p.label)) for where, p in personas]
        self._role_of: dict[tuple[bytes, str], Role | None] = {}
        self._role_at: dict[str, Role | None] = {}
        self.takes_all = not self._roles
        """There is no persona: every command and mail is taken at once."""

    # -- of the connection

    def connect(self, visit: Visit, now: float) -> Verdict:
        """For a new connection."""
        role = self.role_at(visit.host)
        if role is None:
            return GO_ON
        over = self._enter(role, visit, now)
        return self._with_delay(role, Stage.CONNECT, over or self._by_ordinal(role, Stage.CONNECT, visit))

    def command(self, stage: Stage, visit: Visit) -> Verdict:
        """For EHLO, STARTTLS, RSET and QUIT; attempts are counted as connections."""
        role = self.role_at(visit.host)
        return GO_ON if role is None else self._with_delay(role, stage, self._by_ordinal(role, stage, visit))

    def wait(self, visit: Visit) -> float:
        """Seconds before a reply that no rule speaks of: to NOOP, HELP, AUTH and mistakes."""
        role = self.role_at(visit.host)
        return 0.0 if role is None else role.wait(None)

    def mail(self, visit: Visit, sender: bytes, now: float) -> Verdict:
        """For MAIL FROM; the attempts of one sender are counted together."""
        role = self.role_at(visit.host)
        if role is None:
            return GO_ON
        # The connection may be older than the script, so that its persona sees it here for the first time.
        found = self._enter(role, visit, now) or self._over_mails(role, visit)
        if found is None and role.has_say(Stage.MAIL):
            found = role.refusal(Stage.MAIL, sender, self.memory.attempt(b"mail\0" + sender))
        return self._with_delay(role, Stage.MAIL, found)

    # -- of recipients

    def rcpt(self, visit: Visit, sender: bytes, address: bytes, domain: bytes, now: float) -> tuple[Verdict, Recipient]:
        """For RCPT TO at ``now`` (seconds); each call is one attempt of that recipient."""
        role = self._role(domain, visit.host) if self._roles else None
        if role is None:
            return GO_ON, Recipient(address, domain)
        attempt = self.memory.attempt(b"rcpt\0" + address) if role.remembers_recipients else 1
        recipient = Recipient(address, domain, role, attempt)
        found = self._enter(role, visit, now) or self._over_mails(role, visit)
        found = (
            found or role.refusal(Stage.RCPT, address, attempt) or self._greylisted(role, visit, sender, address, now)
        )
        rate = role.persona.recipients_per_s
        if found is None and rate is not None and not role.site.take(rate, now):
            found = role.over_rate
        return self._with_delay(role, Stage.RCPT, found), recipient

    def data(self, recipients: Sequence[Recipient]) -> Verdict:
        """For DATA."""
        if self.takes_all:
            return GO_ON
        delay = max((r.role.wait(Stage.DATA) for r in recipients if r.role), default=0.0)
        for recipient in recipients:
            if (role := recipient.role) and (found := role.refusal(Stage.DATA, recipient.address, recipient.attempt)):
                return found._replace(delay=delay)
        return Verdict(delay=delay) if delay else GO_ON

    def mid_data(self, recipients: Sequence[Recipient]) -> Verdict:
        """For what happens when the first octets of the data have come."""
        for recipient in recipients:
            if role := recipient.role:
                if found := role.refusal(Stage.MID_DATA, recipient.address, recipient.attempt):
                    return found
                if role.drops_mid_data(recipient.address, recipient.attempt):
                    return Verdict(cut=True)
        return GO_ON

    def dot(self, message_id: bytes, recipients: Sequence[Recipient]) -> Verdict:
        """For the final dot; each call is one attempt of each (Message-ID, recipient).

        There is one reply for all: the first recipient whose persona has something to say decides.
        """
        if self.takes_all:
            return GO_ON
        delay = 0.0
        decided: Verdict | None = None
        for recipient in recipients:
            role = recipient.role
            if role is None:
                continue
            delay = max(delay, role.wait(Stage.DOT))
            if not role.remembers_dots:
                continue
            attempt = self.memory.attempt(b"dot\0" + message_id + b"\0" + recipient.address)
            if decided is None:
                decided = role.refusal(Stage.DOT, recipient.address, attempt)
                if decided is None and role.drops_after_dot(recipient.address, attempt):
                    decided = Verdict(cut=True)
        if decided is not None:
            return decided._replace(delay=delay)
        return Verdict(delay=delay) if delay else GO_ON

    # -- who answers

    def site_of(self, recipients: Sequence[Recipient], visit: Visit) -> Site:
        """The persona's site that a mail counts in: of its first recipient that has one, or of the connection."""
        for recipient in recipients:
            if recipient.role:
                return recipient.role.site
        role = self.role_at(visit.host)
        return role.site if role else self._sites.no_persona

    def size_limit(self, host: Host) -> int:
        """Octets of the largest mail that is taken at this address."""
        role = self.role_at(host)
        own = role.persona.size_limit if role is not None else None
        return self.script.size_limit if own is None else own

    def role_at(self, host: Host) -> Role | None:
        """Who answers at this address before a recipient is known."""
        if not self._roles:
            return None
        try:
            return self._role_at[host.address]
        except KeyError:
            pass
        role = next((r for r in self._roles if r.persona.meets_connections and _is_at(r.persona, host)), None)
        self._role_at[host.address] = role
        return role

    def _role(self, domain: bytes, host: Host) -> Role | None:
        key = (domain, host.address)
        try:
            return self._role_of[key]
        except KeyError:
            pass
        name = domain.decode("utf-8", "backslashreplace")
        role = next(
            (r for r in self._roles
             if _is_at(r.persona, host) and any(fnmatchcase(name, glob) for glob in r.persona.globs)),
            None,
        )  # fmt: skip
        if len(self._role_of) >= _ROLES_REMEMBERED:
            self._role_of.clear()
        self._role_of[key] = role
        return role

    # -- limits

    @staticmethod
    def _enter(role: Role, visit: Visit, now: float) -> Verdict | None:
        """The connection has to do with this persona: refuse it when that makes one too many."""
        if not visit.join(role.site, now):
            return None
        persona, site = role.persona, role.site
        visit.octets_per_s = persona.octets_per_s or visit.octets_per_s
        most, most_of_one = persona.connections, persona.connections_per_client
        if (most is not None and site.open > most) or (
            most_of_one is not None and site.clients[visit.client] > most_of_one
        ):
            return role.over_limit
        return None

    @staticmethod
    def _over_mails(role: Role, visit: Visit) -> Verdict | None:
        most = role.persona.mails_per_connection
        return role.over_mails if most is not None and visit.mails >= most else None

    def _greylisted(self, role: Role, visit: Visit, sender: bytes, address: bytes, now: float) -> Verdict | None:
        if not role.greylist_s:
            return None
        first = self.memory.first_try(b"\0".join((visit.client.encode(), sender, address)), now)
        return Verdict(replies.GREYLISTED, 450) if now - first < role.greylist_s else None

    @staticmethod
    def _by_ordinal(role: Role, stage: Stage, visit: Visit) -> Verdict | None:
        return role.refusal(stage, b"connection", visit.connection)

    @staticmethod
    def _with_delay(role: Role, stage: Stage, found: Verdict | None) -> Verdict:
        delay = role.wait(stage)
        if found is not None:
            return found._replace(delay=delay)
        return Verdict(delay=delay) if delay else GO_ON


def _is_at(persona: Persona, host: Host) -> bool:
    return not persona.hosts or any(
        known == wanted or fnmatchcase(known, wanted) for wanted in persona.hosts for known in host.matched_by
    )
