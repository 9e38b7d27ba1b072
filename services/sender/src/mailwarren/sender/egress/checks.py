"""Which egresses are closed: looked at when a sender starts, and from time to time."""

import asyncio
from collections.abc import Callable, Collection, Iterable

import structlog

from mailwarren.contracts.egress import PROBLEMS_TOLD
from mailwarren.sender.egress import metrics
from mailwarren.sender.egress.dns import Dns
from mailwarren.sender.egress.findings import Check, Finding, look_at, try_to_bind
from mailwarren.sender.egress.plan import Egress, EgressPlan

SOON = 30.0
"""Seconds after which it is looked again where something failed, or nobody could tell."""

log = structlog.get_logger()


class Checks:
    """For one event loop.

    An egress whose address is not this host's is closed: nothing can come from it. One whose checks in the DNS failed
    is closed with ``gate`` alone, and then also until they have passed for the first time. A DNS that does not answer
    says nothing: what was found before goes on.

    Args:
        plan: The file in force.
        mine: The egresses that this sender has; none stands for all.
        dns: Where to ask.
        gate: Failed checks close an egress, and keep the process unready.
        every: Seconds between two looks.
    """

    def __init__(
        self,
        *,
        plan: Callable[[], EgressPlan | None],
        mine: Collection[str],
        dns: Dns,
        gate: bool,
        every: float,
    ) -> None:
        self._plan = plan
        self._mine = frozenset(mine)
        self._dns = dns
        self._gate = gate
        self._every = every
        self._looked: EgressPlan | None = None
        self._failed: dict[str, list[Finding]] = {}
        """By egress; one that was looked at and has no failure is there too."""
        self._unbound: dict[str, list[Finding]] = {}
        self._said: dict[tuple[str, Check, str, str], bool | None] = {}

    def bound(self, name: str) -> bool:
        """Whether connections can come from an egress: its addresses are this host's."""
        return name not in self._unbound

    def closed(self, name: str) -> bool:
        """Whether no mail may leave from an egress."""
        if not self.bound(name):
            return True
        return self._gate and bool(self._failed.get(name, True))

    def problems(self, name: str) -> tuple[str, ...]:
        """What was found, in words."""
        found = [*self._unbound.get(name, ()), *self._failed.get(name, ())]
        return tuple(str(finding) for finding in found[:PROBLEMS_TOLD])

    @property
    def trouble(self) -> str | None:
        """Why the process is not ready; None when it is.

        Of a file that is the same for several hosts, each has some: those that are not this host's are no trouble
        here, unless the settings name them, or none is left.
        """
        egresses = self._egresses()
        here = egresses if self._mine else [one for one in egresses if self.bound(one.name)]
        for egress in here or egresses:
            if self.closed(egress.name):
                return f"egress {egress.name}: {next(iter(self.problems(egress.name)), 'not checked yet')}"
        return None

    async def run(self) -> None:
        """Look for ever; a new file is looked at at once."""
        while True:
            good = False
            try:
                good = await self.look()
            except Exception:
                log.exception("sender.egress.error")
            wait = self._every if good else min(SOON, self._every)
            while wait > 0 and self._looked is self._plan():
                pause = min(1.0, wait)
                await asyncio.sleep(pause)
                wait -= pause

    def bind(self) -> list[Finding]:
        """Look which addresses are this host's: at once, so that no mail is tried from one that is not."""
        self._looked = self._plan()
        found = [finding for egress in self._egresses() for finding in try_to_bind(egress)]
        self._unbound = _by_egress(finding for finding in found if not finding.passed)
        return found

    async def look(self) -> bool:
        """Look once; whether all is well, and known to be."""
        plan = self._plan()
        found = self.bind()
        egresses = self._egresses()
        if plan is not None:
            looks = await asyncio.gather(*(look_at(egress, plan.senders, self._dns) for egress in egresses))
            for egress, findings in zip(egresses, looks, strict=True):
                self._take(egress.name, findings)
                found += findings
        self._failed = {one.name: self._failed[one.name] for one in egresses if one.name in self._failed}
        self._say(found)
        metrics.record_checks((one.egress, one.check.value, one.passed) for one in found if one.passed is not None)
        return all(finding.passed for finding in found)

    # --- inside ---

    def _take(self, name: str, findings: list[Finding]) -> None:
        failed = [finding for finding in findings if finding.passed is False]
        if failed:
            self._failed[name] = failed
        elif all(finding.passed for finding in findings):
            self._failed[name] = []

    def _say(self, found: list[Finding]) -> None:
        """A line for each finding that is news."""
        now = {(one.egress, one.check, one.address, one.expected): one.passed for one in found}
        for one in found:
            key = one.egress, one.check, one.address, one.expected
            if key in self._said and self._said[key] == one.passed:
                continue
            if one.passed:
                log.info(
                    "sender.egress.checked",
                    egress=one.egress, check=one.check.value, address=one.address, found=one.found,
                )  # fmt: skip
            else:
                log.warning(
                    "sender.egress.problem",
                    egress=one.egress, check=one.check.value, address=one.address, expected=one.expected,
                    found=one.found, unknown=one.passed is None,
                )  # fmt: skip
        self._said = now

    def _egresses(self) -> list[Egress]:
        plan = self._plan()
        if plan is None:
            return []
        return [egress for name, egress in plan.egresses.items() if not self._mine or name in self._mine]


def _by_egress(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        found.setdefault(finding.egress, []).append(finding)
    return found
