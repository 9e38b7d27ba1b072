"""MTA-STS policies of domains: found by DNS, fetched over HTTPS, kept for as long as they say (RFC 8461 §3.3, §5.1).

A cached policy holds until its time is over, whatever DNS and the web server say or fail to say meanwhile; a newer one
is fetched beside the mail. A domain whose policy cannot be fetched, and is not cached, gets its mail as if it had none;
that is told, and tried again after ``FAILED_HOLD`` seconds.
"""

import asyncio
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import httpx
import structlog

from mailwarren.contracts.tls import TlsPolicy, TlsSession
from mailwarren.sender.smtp.domains import ascii_domain
from mailwarren.sender.smtp.lookups import LookupCache
from mailwarren.sender.smtp.mx import SHORTEST_HOLD, DnsFailure, Resolver
from mailwarren.sender.smtp.sts import LONGEST_POLICY, StsInvalid, StsMode, StsPolicy, read_policy, read_record

FETCH_TIMEOUT = 20.0
"""Seconds for a policy, all in all: the first mail to the domain waits for it."""
FAILED_HOLD = 300.0
"""Seconds before a policy that could not be fetched is tried again (RFC 8461 §3.3)."""
REFRESH = 86_400.0
"""Seconds after which a policy whose id has not changed is fetched all the same, so that it does not run out; when half
of its time is over, if that is sooner."""
KEPT = 20_000
"""Policies; the least recently looked-up leave first."""
FETCHES = 20
"""At once; the others wait."""
_MOST_TRIED = 2

log = structlog.get_logger()

FETCH_ERROR, INVALID, NOT_TRUSTED = "sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid"
"""Result types of RFC 8460 §4.3.2.2."""


class StsUnavailable(Exception):
    """A policy could not be had; ``result`` is what reports call that."""

    def __init__(self, result: str, text: str) -> None:
        super().__init__(text)
        self.result = result


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a domain: its policy that holds, and what went wrong over it until somebody has told of it.

    ``unavailable``: it announces a policy, and none could be had.
    """

    policy: StsPolicy | None = None
    trouble: list[TlsSession] = field(default_factory=list)
    unavailable: bool = False


@dataclass(frozen=True, slots=True)
class _Cached:
    """A policy, when it was fetched, and before when no newer one is tried (Unix time)."""

    ident: str
    policy: StsPolicy
    fetched: float
    again: float = 0.0

    def holds(self, now: float) -> bool:
        return now < self.fetched + self.policy.max_age

    def ages(self, now: float) -> bool:
        return now >= self.fetched + min(REFRESH, self.policy.max_age / 2)


class StsCache:
    """The policies that one process knows.

    Args:
        resolver: Finds the records, and the web servers' addresses: none that is not public, unless it may.
        context: What the web servers' certificates are checked with.
        port: Of the web servers: 443, other values are for tests.
        fetched: Called after each fetch with how it went: ``ok``, or what reports call the failure.
        clock: Unix time.
    """

    def __init__(
        self,
        resolver: Resolver,
        context: ssl.SSLContext,
        *,
        port: int = 443,
        fetched: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._resolver = resolver
        self._context = context
        self._port = port
        self._fetched = fetched
        self._clock = clock
        self._client: httpx.AsyncClient | None = None
        self._fetches = asyncio.Semaphore(FETCHES)
        self._policies: OrderedDict[str, _Cached] = OrderedDict()
        self._renewing: dict[str, asyncio.Task[None]] = {}
        self._domains: LookupCache[Known] = LookupCache(self._look_up, size=KEPT)

    async def policy(self, domain: str) -> Known:
        """What holds for ``domain``, a name that DNS knows. The same object is returned as long as it is cached."""
        return await self._domains.get(domain)

    async def close(self) -> None:
        """Cancel what is under way, and close the connections."""
        await self._domains.close()
        renewing = list(self._renewing.values())
        for task in renewing:
            task.cancel()
        await asyncio.gather(*renewing, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    # --- inside ---

    async def _look_up(self, name: str) -> tuple[Known, float]:
        domain = ascii_domain(name)
        found = await self._resolver.texts(f"_mta-sts.{domain}")
        now = self._clock()
        cached = self._cached(domain, now)
        if isinstance(found, DnsFailure):
            return _known(cached), self._hold(cached, FAILED_HOLD, now)
        texts, ttl = found
        ident = read_record(texts)
        # Without a record there is no policy to look for, but one that is cached goes on to hold (§5.1).
        if ident is None or (cached is not None and cached.ident == ident and not cached.ages(now)):
            return _known(cached), self._hold(cached, ttl, now)
        if cached is not None:
            # It holds meanwhile: no mail waits for a newer one.
            known = _known(cached)
            self._renew(domain, ident, cached, known)
            return known, self._hold(cached, SHORTEST_HOLD, now)
        found_policy = await self._try(domain, ident)
        if isinstance(found_policy, TlsSession):
            return Known(None, [found_policy], unavailable=True), FAILED_HOLD
        return _known(found_policy), self._hold(found_policy, ttl, now)

    def _renew(self, domain: str, ident: str, cached: _Cached, known: Known) -> None:
        """Fetch a newer policy beside the mail, unless that has just failed; ``known`` tells when it fails."""
        if domain in self._renewing or self._clock() < cached.again:
            return

        async def renew() -> None:
            found = await self._try(domain, ident)
            if isinstance(found, TlsSession):
                known.trouble.append(found)
                self._keep(domain, replace(cached, again=self._clock() + FAILED_HOLD))

        task = self._renewing[domain] = asyncio.create_task(renew())
        task.add_done_callback(lambda _: self._renewing.pop(domain, None))

    async def _try(self, domain: str, ident: str) -> _Cached | TlsSession:
        """The policy, kept from now on, or what reports call it that there is none."""
        try:
            async with self._fetches:
                policy = await self._fetch(domain)
        except StsUnavailable as error:
            self._fetched(error.result)
            log.info("sender.sts.unavailable", domain=domain, result=error.result, cached=domain in self._policies)
            return TlsSession(domain, TlsPolicy.STS, error.result, text=str(error)[:200])
        self._fetched("ok")
        log.info("sender.sts.fetched", domain=domain, mode=policy.mode.value, max_age=policy.max_age)
        return self._keep(domain, _Cached(ident, policy, self._clock()))

    @staticmethod
    def _hold(cached: _Cached | None, seconds: float, now: float) -> float:
        """Seconds until the domain is looked at again: when its policy runs out, but not for every mail."""
        if cached is None:
            return seconds
        return max(SHORTEST_HOLD, min(seconds, cached.fetched + cached.policy.max_age - now))

    def _cached(self, domain: str, now: float) -> _Cached | None:
        cached = self._policies.get(domain)
        if cached is None:
            return None
        if not cached.holds(now):
            del self._policies[domain]
            return None
        self._policies.move_to_end(domain)
        return cached

    def _keep(self, domain: str, cached: _Cached) -> _Cached:
        self._policies[domain] = cached
        self._policies.move_to_end(domain)
        if len(self._policies) > KEPT:
            self._policies.popitem(last=False)
        return cached

    async def _fetch(self, domain: str) -> StsPolicy:
        """Fetch a policy.

        Raises:
            StsUnavailable: there is none to be had.
        """
        host = f"mta-sts.{domain}"
        addresses = await self._resolver.addresses(host)
        if isinstance(addresses, DnsFailure):
            raise StsUnavailable(FETCH_ERROR, f"{host}: {addresses.text}")
        failure: StsUnavailable | None = None
        try:
            async with asyncio.timeout(FETCH_TIMEOUT):
                for address in addresses[:_MOST_TRIED]:
                    try:
                        return read_policy(await self._get(host, address))
                    except StsUnavailable as error:
                        failure = failure or error
                    except StsInvalid as error:
                        raise StsUnavailable(INVALID, str(error)) from error
        except TimeoutError:
            raise StsUnavailable(FETCH_ERROR, f"{host}: no answer in {FETCH_TIMEOUT:g} s") from None
        raise failure or StsUnavailable(FETCH_ERROR, f"{host}: no address")

    async def _get(self, host: str, address: str) -> bytes:
        """The document, from one address of the host; no redirects, no more octets than a policy may have."""
        if self._client is None:
            # A connection each: nobody asks the same server again for hours.
            limits = httpx.Limits(max_keepalive_connections=0)
            self._client = httpx.AsyncClient(
                verify=self._context, limits=limits, trust_env=False, timeout=FETCH_TIMEOUT
            )
        at = f"[{address}]" if ":" in address else address
        # By its address, which was looked at; the certificate has to be for the name all the same.
        request = self._client.build_request(
            "GET",
            f"https://{at}:{self._port}/.well-known/mta-sts.txt",
            headers={
                "Host": host,
                "Accept": "text/plain",
                "Accept-Encoding": "identity",
                "User-Agent": "mailwarren",
            },
            extensions={"sni_hostname": host},
        )
        try:
            response = await self._client.send(request, stream=True, follow_redirects=False)
            try:
                return await _body(host, response)
            finally:
                await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            untrusted = next((one for one in _causes(error) if isinstance(one, ssl.SSLCertVerificationError)), None)
            if untrusted is not None:
                raise StsUnavailable(NOT_TRUSTED, f"{host}: certificate: {untrusted.verify_message}") from error
            raise StsUnavailable(FETCH_ERROR, f"{host}: {type(error).__name__}") from error


def _known(cached: _Cached | None) -> Known:
    return Known(cached.policy if cached is not None and cached.policy.mode is not StsMode.NONE else None)


async def _body(host: str, response: httpx.Response) -> bytes:
    if response.status_code != httpx.codes.OK:
        raise StsUnavailable(FETCH_ERROR, f"{host}: HTTP status {response.status_code}")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "text/plain":
        raise StsUnavailable(FETCH_ERROR, f"{host}: served as {kind[:60] or 'nothing'}, not text/plain")
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > LONGEST_POLICY:
            raise StsUnavailable(INVALID, f"{host}: more than {LONGEST_POLICY} octets")
    return bytes(body)


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__
