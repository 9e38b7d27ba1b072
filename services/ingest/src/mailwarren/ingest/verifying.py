"""The use case: a look at a domain's records in the DNS, and what follows from it.

The API does it when somebody asks (``verify``), a worker for every domain from time to time. Either may come at any
moment: what is written follows from what was seen, and a key changes its state once.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from msgspec.structs import replace

from mailwarren.ingest.adapters.database import DatabaseDown
from mailwarren.ingest.adapters.dns import Dns
from mailwarren.ingest.adapters.domains import Domains, Row, Seen
from mailwarren.ingest.adapters.spf import read_spf
from mailwarren.ingest.domain.dmarc import Dmarc, align, dmarc_records, places, read_record
from mailwarren.ingest.domain.dns_records import (
    Finding,
    Findings,
    Found,
    Purpose,
    Site,
    Wanted,
    alias_problem,
    dmarc_problem,
    envelope_domain,
    judge,
    key_problem,
    mx_problem,
    spf_finding,
    wanted_records,
)
from mailwarren.ingest.domain.domain_checks import Standing, conclude, next_check, seen_keys, tracks
from mailwarren.store.states import DomainState, KeyState

log = structlog.get_logger()

AT_ONCE = 10
"""Domains; each is some ten questions to the DNS at the same time."""


class Verifier:
    """Looks at domains.

    Args:
        domains: their table.
        dns: who is asked.
        site: what their records are to name.
        overlap_days: how long the record of a key that was replaced has to stay.
    """

    def __init__(self, domains: Domains, dns: Dns, site: Site, overlap_days: float) -> None:
        self._domains = domains
        self._dns = dns
        self._site = site
        self._overlap_days = overlap_days

    async def verify(self, row: Row) -> Row | None:
        """Look at a domain's records and write what was found; the row afterwards, None when it was deleted meanwhile.

        Raises:
            DatabaseDown: nothing was written, or it is not known.
        """
        wanted = wanted_records(row.name, row.return_path, row.keys, self._site, row.tracking_subdomain)
        looks = await asyncio.gather(*(self._look(one) for one in wanted))
        dmarc = next((found for _, found in looks if found is not None), None)
        now = datetime.now(UTC)
        looked = [(one, finding) for one, (finding, _) in zip(wanted, looks, strict=True)]
        verdict = replace(
            conclude(Standing(row.state, row.created_at, row.failing_since), looked, now), tracks=tracks(looked)
        )
        seen = seen_keys(looked)
        waiting = [key for key in row.keys if key.state is KeyState.NEXT and key not in seen]
        since = max((key.created_at for key in waiting), default=row.created_at)
        unknown = dmarc is None and _unanswered(looked)
        findings = Findings(
            records=tuple(finding for _, finding in looked),
            dmarc=row.findings.dmarc if unknown else dmarc,
            alignment=align(row.name, envelope_domain(row.name, row.return_path, self._site), dmarc)
            if not unknown
            else row.findings.alignment,
        )
        after = await self._domains.checked(
            row,
            findings,
            verdict,
            next_check(verdict.state, since, now, keys_wait=bool(waiting)),
            Seen(tuple((key.selector, key.algorithm) for key in seen), self._overlap_days),
        )
        if after is not None:
            self._tell(row, after)
        return after

    async def _look(self, wanted: Wanted) -> tuple[Finding, Dmarc | None]:
        match wanted.purpose:
            case Purpose.DKIM:
                found = await self._dns.texts(wanted.name)
                return judge(wanted, found, key_problem(wanted, found)), None
            case Purpose.BOUNCES:
                found = await self._dns.exchanges(wanted.name)
                return judge(wanted, found, mx_problem(wanted, found)), None
            case Purpose.SPF:
                return spf_finding(wanted, await read_spf(self._dns, wanted.name), self._site), None
            case Purpose.DMARC:
                return await self._dmarc(wanted)
            case Purpose.TRACKING:
                found = await self._dns.addresses(wanted.name)
                return judge(wanted, found, alias_problem(wanted, found)), None

    async def _dmarc(self, wanted: Wanted) -> tuple[Finding, Dmarc | None]:
        at = wanted.name
        records: list[str] = []
        for place in places(wanted.name.removeprefix("_dmarc.")):
            found = await self._dns.texts(place)
            if found.trouble is not None:
                return judge(wanted, found, None), None
            if records := dmarc_records(found.values):
                at = place
                break
        dmarc = read_record(records[0], at) if len(records) == 1 else None
        return judge(wanted, Found(values=tuple(records)), dmarc_problem(records, dmarc, at)), dmarc

    def _tell(self, before: Row, after: Row) -> None:
        known = {"domain": after.name, "tenant": str(after.tenant)}
        if after.state is not before.state:
            wrong = [f"{finding.name}: {finding.problem}" for finding in after.findings.records if finding.problem]
            states = {"before": before.state.value, "after": after.state.value}
            if after.state in {DomainState.VERIFIED, DomainState.PENDING}:
                log.info("ingest.domain.state", wrong=wrong, **states, **known)
            else:
                log.warning("ingest.domain.failing", wrong=wrong, **states, **known)
        active = {key.selector for key in before.keys if key.state is KeyState.ACTIVE}
        for key in after.keys:
            if key.state is KeyState.ACTIVE and key.selector not in active:
                log.info("ingest.domain.key_active", selector=key.selector, algorithm=key.algorithm, **known)


async def verify_due(domains: Domains, verifier: Verifier, stopping: Callable[[], bool]) -> int:
    """Look at every domain whose time has come, some at once; how many those were.

    One that meets a bug of ours is put off, so that it keeps no other waiting.

    Raises:
        DatabaseDown: the rest is still due.
    """
    looked = 0
    while not stopping() and (rows := await domains.due(AT_ONCE)):
        results = await asyncio.gather(*(verifier.verify(row) for row in rows), return_exceptions=True)
        for row, result in zip(rows, results, strict=True):
            if isinstance(result, DatabaseDown) or (
                isinstance(result, BaseException) and not isinstance(result, Exception)
            ):
                raise result
            if isinstance(result, Exception):
                log.error("ingest.domain.bug", domain=row.name, tenant=str(row.tenant), exc_info=result)
                await domains.put_off(row)
        looked += len(rows)
    return looked


def _unanswered(looked: list[tuple[Wanted, Finding]]) -> bool:
    """Whether nothing is known about DMARC now."""
    return any(
        wanted.purpose is Purpose.DMARC and finding.state is DomainState.TEMPORARY_FAILURE for wanted, finding in looked
    )
