"""A persona made ready to answer: replies encoded, outcomes by stage, waits drawn."""

import math
from bisect import bisect_right
from collections.abc import Callable
from hashlib import blake2b
from itertools import accumulate
from random import Random
from typing import NamedTuple

from mailwarren.sink import reply as replies
from mailwarren.sink.persona import Choice, Delay, Persona, Refusal, Rule, Spread, Stage
from mailwarren.sink.sites import Site

_CLOSING = 421
_Z95 = 1.6448536269514722  # the standard normal distribution's 95th percentile


class Verdict(NamedTuple):
    """What to do at one step, after ``delay`` seconds.

    ``reply`` refuses (``None``: go on), and ends the connection with ``close``; ``cut`` drops it without a reply, and
    ``reset`` does so by a TCP RST.
    """

    reply: bytes | None = None
    code: int = 0
    delay: float = 0.0
    close: bool = False
    cut: bool = False
    reset: bool = False

    @property
    def goes_on(self) -> bool:
        """Nothing is refused."""
        return self.reply is None and not self.cut


GO_ON = Verdict()


def draw(seed: int, rule: str, key: bytes, attempt: int) -> float:
    """A number in [0, 1) that depends on its arguments alone."""
    digest = blake2b(b"%d\0%s\0%d\0%s" % (seed, rule.encode(), attempt, key), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


def _verdict(said: Rule | Choice) -> Verdict:
    if said.reset:
        return Verdict(cut=True, reset=True)
    if said.code is None:
        return GO_ON
    # RFC 5321 §3.8: 421 says that the server is about to close the connection.
    line = replies.reply(said.code, said.text, said.enhanced)
    return Verdict(line, said.code, close=said.close or said.code == _CLOSING)


def _in_words(refusal: Refusal | None, otherwise: bytes) -> Verdict:
    line = replies.reply(refusal.code, refusal.text, refusal.enhanced) if refusal else otherwise
    code = replies.code_of(line)
    return Verdict(line, code, close=code == _CLOSING)


def waits(delay: Delay, random: Random) -> Callable[[], float]:
    """Make what draws the seconds of each wait."""
    if not isinstance(delay, Spread):
        seconds = delay / 1000
        return lambda: seconds
    if delay.median is None or delay.p95 is None:
        low, high = (delay.low or 0) / 1000, (delay.high or 0) / 1000
        return lambda: random.uniform(low, high)
    mu, sigma = math.log(delay.median / 1000), math.log(delay.p95 / delay.median) / _Z95
    return lambda: random.lognormvariate(mu, sigma)


class _Mix(NamedTuple):
    where: str
    bounds: list[float]
    verdicts: list[Verdict]


class Role:
    """A persona that can be asked. ``where`` tells its draws from those of other personas."""

    def __init__(self, persona: Persona, where: str, seed: int, site: Site) -> None:
        self.persona = persona
        self.site = site
        self.greylist_s = persona.greylist_s
        self.over_limit = _in_words(persona.over_limit, replies.TOO_MANY_CONNECTIONS)
        self.over_mails = _in_words(persona.over_limit, replies.TOO_MANY_MAILS)
        self.over_rate = _in_words(persona.over_rate, replies.TOO_FAST)
        self._seed = seed
        self._where = where
        self._rules: dict[Stage, list[tuple[str, Rule, Verdict]]] = {stage: [] for stage in Stage}
        for number, rule in enumerate(persona.rules):
            self._rules[rule.stage].append((f"{where}.{number}", rule, _verdict(rule)))
        self._mixes = {stage: mix for stage in Stage if (mix := self._mix(stage))}
        before_dot = (Stage.RCPT, Stage.DATA, Stage.MID_DATA)
        self.remembers_recipients = any(map(self.has_say, before_dot)) or persona.drop_mid_data > 0
        self.remembers_dots = self.has_say(Stage.DOT) or persona.drop_after_dot > 0
        random = Random(f"{seed} {where}")
        self._wait = {
            stage: waits(persona.latency_by_stage_ms.get(stage, persona.latency_ms), random) for stage in Stage
        }
        self._other_wait = waits(persona.latency_ms, random)
        self._dot_wait = waits(persona.dot_latency_ms, random)
        self._tarpit = persona.tarpit_ms_per_rcpt / 1000

    def has_say(self, stage: Stage) -> bool:
        """Whether anything may be refused at this stage by a rule or a mix."""
        return bool(self._rules[stage]) or stage in self._mixes

    def wait(self, stage: Stage | None) -> float:
        """Seconds before a reply at this stage, or to any other command."""
        if stage is None:
            return self._other_wait()
        seconds = self._wait[stage]()
        if stage is Stage.DOT:
            return seconds + self._dot_wait()
        return seconds + self._tarpit if stage is Stage.RCPT else seconds

    def refusal(self, stage: Stage, key: bytes, attempt: int) -> Verdict | None:
        """What the first rule that applies to this attempt says, or the mix; without its delay."""
        for where, rule, verdict in self._rules[stage]:
            if rule.first_attempts is not None and attempt > rule.first_attempts:
                continue
            if rule.share >= 1 or draw(self._seed, where, key, attempt) < rule.share:
                return verdict
        if mix := self._mixes.get(stage):
            place = bisect_right(mix.bounds, draw(self._seed, mix.where, key, attempt) * mix.bounds[-1])
            verdict = mix.verdicts[min(place, len(mix.verdicts) - 1)]
            return None if verdict.goes_on else verdict
        return None

    def drops_mid_data(self, key: bytes, attempt: int) -> bool:
        """Whether the connection is cut inside the data."""
        share = self.persona.drop_mid_data
        return share > 0 and draw(self._seed, self._where + ".mid", key, attempt) < share

    def drops_after_dot(self, key: bytes, attempt: int) -> bool:
        """Whether the connection is cut instead of the answer to the final dot."""
        share = self.persona.drop_after_dot
        return share > 0 and draw(self._seed, self._where + ".dot", key, attempt) < share

    def _mix(self, stage: Stage) -> _Mix | None:
        choices = [choice for choice in self.persona.mix if choice.stage is stage]
        if not choices:
            return None
        return _Mix(
            f"{self._where}.mix.{stage.value}",
            list(accumulate(choice.weight for choice in choices)),
            [_verdict(choice) for choice in choices],
        )
