"""What the script says to each step of a transaction: pure decisions, and the memory of earlier attempts they need.

Shares are not drawn from a random stream: they are a hash of (seed, rule, recipient, attempt), so that a run repeats
itself however its connections interleave, and every new attempt is a new draw.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import NamedTuple

from mailwarren.sink import reply as replies
from mailwarren.sink.script import ANY_DOMAIN, Persona, Rule, Script, Stage

_ROLES_REMEMBERED = 100_000  # domains whose persona is cached; a run with more only matches globs again


class Verdict(NamedTuple):
    """What to do at one step, after ``delay`` seconds.

    ``reply`` refuses (``None``: go on), and ends the connection with ``close``; ``cut`` drops it without a reply.
    """

    reply: bytes | None = None
    code: int = 0
    delay: float = 0.0
    close: bool = False
    cut: bool = False


GO_ON = Verdict()


def draw(seed: int, rule: str, key: bytes, attempt: int) -> float:
    """A number in [0, 1) that depends on its arguments alone."""
    digest = blake2b(b"%d\0%s\0%d\0%s" % (seed, rule.encode(), attempt, key), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


class _Role:
    """A persona made ready to answer: replies encoded, rules by stage, times in seconds."""

    __slots__ = ("_persona", "_rules", "_seed", "_where", "dot_delay", "greylist_s", "latency", "rcpt_delay",
                 "remembers_dots", "remembers_recipients")  # fmt: skip

    def __init__(self, persona: Persona, at: int, seed: int) -> None:
        self._persona = persona
        self._seed = seed
        self._where = str(at)
        self.latency = persona.latency_ms / 1000
        self.dot_delay = (persona.latency_ms + persona.dot_latency_ms) / 1000
        self.rcpt_delay = (persona.latency_ms + persona.tarpit_ms_per_rcpt) / 1000
        self.greylist_s = persona.greylist_s
        self._rules: dict[Stage, list[tuple[str, Rule, bytes]]] = {stage: [] for stage in Stage}
        for number, rule in enumerate(persona.rules):
            line = replies.reply(rule.code, rule.text, rule.enhanced)
            self._rules[rule.stage].append((f"{at}.{number}", rule, line))
        before_data = bool(self._rules[Stage.RCPT] or self._rules[Stage.DATA])
        self.remembers_recipients = before_data or persona.drop_mid_data > 0
        self.remembers_dots = bool(self._rules[Stage.DOT]) or persona.drop_after_dot > 0

    def has_rules(self, stage: Stage) -> bool:
        return bool(self._rules[stage])

    def refusal(self, stage: Stage, key: bytes, attempt: int) -> tuple[Rule, bytes] | None:
        """The first rule of this stage that applies to this attempt, with its reply."""
        for where, rule, line in self._rules[stage]:
            if rule.first_attempts is not None and attempt > rule.first_attempts:
                continue
            if rule.share >= 1 or draw(self._seed, where, key, attempt) < rule.share:
                return rule, line
        return None

    def drops_mid_data(self, key: bytes, attempt: int) -> bool:
        share = self._persona.drop_mid_data
        return share > 0 and draw(self._seed, self._where + ".mid", key, attempt) < share

    def drops_after_dot(self, key: bytes, attempt: int) -> bool:
        share = self._persona.drop_after_dot
        return share > 0 and draw(self._seed, self._where + ".dot", key, attempt) < share


class Recipient(NamedTuple):
    """An accepted RCPT: the address as given, its domain in lower case, who answers for it, and which try this is."""

    address: bytes
    domain: bytes
    role: _Role | None = None
    attempt: int = 1


def _refuse(found: tuple[Rule, bytes], delay: float) -> Verdict:
    rule, line = found
    # RFC 5321 §3.8: 421 says that the server is about to close the connection.
    return Verdict(line, rule.code, delay, rule.close or rule.code == 421)  # noqa: PLR2004


class Policy:
    """A script being played. It remembers attempts and first tries, and starts without any.

    Only recipients whose persona needs it are remembered: a sink that merely counts stays small.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self._roles = [_Role(persona, at, script.seed) for at, persona in enumerate(script.personas)]
        everyone = [r for r, p in zip(self._roles, script.personas, strict=True) if p.domains == ANY_DOMAIN]
        self._everyone = everyone[0] if everyone else None
        self._role_of: dict[bytes, _Role | None] = {}
        self._attempts: dict[bytes, int] = {}
        self._first_tries: dict[bytes, float] = {}
        self.takes_all = not self._roles
        """There is no persona: every command and mail is taken at once."""
        self.latency = self._everyone.latency if self._everyone else 0.0
        """Seconds before a reply that no recipient's persona speaks: greeting, EHLO, MAIL, RSET and the like."""

    def connect(self, ordinal: int) -> Verdict:
        """For the ``ordinal``-th connection, counted from 1."""
        return self._without_recipient(Stage.CONNECT, b"connection", ordinal)

    def mail(self, sender: bytes) -> Verdict:
        """For MAIL FROM; the attempts of one sender are counted together."""
        if self._everyone is None or not self._everyone.has_rules(Stage.MAIL):
            return Verdict(delay=self.latency) if self.latency else GO_ON
        return self._without_recipient(Stage.MAIL, sender, self._attempt(b"mail\0" + sender))

    def rcpt(self, address: bytes, domain: bytes, now: float) -> tuple[Verdict, Recipient]:
        """For RCPT TO at ``now`` (seconds); each call is one attempt of that recipient."""
        role = self._role(domain) if self._roles else None
        if role is None:
            return GO_ON, Recipient(address, domain)
        attempt = self._attempt(b"rcpt\0" + address) if role.remembers_recipients else 1
        recipient = Recipient(address, domain, role, attempt)
        first_try = self._first_tries.setdefault(address, now) if role.greylist_s else now
        if found := role.refusal(Stage.RCPT, address, attempt):
            return _refuse(found, role.rcpt_delay), recipient
        if now - first_try < role.greylist_s:
            return Verdict(replies.GREYLISTED, 450, role.rcpt_delay), recipient
        return Verdict(delay=role.rcpt_delay), recipient

    def data(self, recipients: Sequence[Recipient]) -> Verdict:
        """For DATA. ``cut`` without a reply: go on, and cut the connection when the first octets of data came."""
        if self.takes_all:
            return GO_ON
        delay = max((r.role.latency for r in recipients if r.role), default=0.0)
        for recipient in recipients:
            if role := recipient.role:
                if found := role.refusal(Stage.DATA, recipient.address, recipient.attempt):
                    return _refuse(found, delay)
                if role.drops_mid_data(recipient.address, recipient.attempt):
                    return Verdict(delay=delay, cut=True)
        return Verdict(delay=delay) if delay else GO_ON

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
            delay = max(delay, role.dot_delay)
            if not role.remembers_dots:
                continue
            attempt = self._attempt(b"dot\0" + message_id + b"\0" + recipient.address)
            if decided is None:
                if found := role.refusal(Stage.DOT, recipient.address, attempt):
                    decided = _refuse(found, 0.0)
                elif role.drops_after_dot(recipient.address, attempt):
                    decided = Verdict(cut=True)
        if decided is not None:
            return decided._replace(delay=delay)
        return Verdict(delay=delay) if delay else GO_ON

    def _without_recipient(self, stage: Stage, key: bytes, attempt: int) -> Verdict:
        if self._everyone and (found := self._everyone.refusal(stage, key, attempt)):
            return _refuse(found, self.latency)
        return Verdict(delay=self.latency) if self.latency else GO_ON

    def _attempt(self, key: bytes) -> int:
        attempt = self._attempts.get(key, 0) + 1
        self._attempts[key] = attempt
        return attempt

    def _role(self, domain: bytes) -> _Role | None:
        try:
            return self._role_of[domain]
        except KeyError:
            pass
        name = domain.decode("utf-8", "backslashreplace")
        role = next(
            (r for r, p in zip(self._roles, self.script.personas, strict=True)
             if any(fnmatchcase(name, glob) for glob in p.domains)),
            None,
        )  # fmt: skip
        if len(self._role_of) >= _ROLES_REMEMBERED:
            self._role_of.clear()
        self._role_of[domain] = role
        return role
