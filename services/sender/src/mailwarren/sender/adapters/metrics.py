"""Metrics of DKIM: signatures, and the keys that they are made with."""

from collections.abc import Iterable
from functools import lru_cache

from prometheus_client import Counter, Gauge, Histogram

from mailwarren.contracts.dkim import ED25519, RSA

_signatures = Counter(
    "mailwarren_sender_dkim_signatures_total",
    "DKIM signatures of mail that was sent, made or used again from an attempt before",
    ["algorithm", "origin"],
)
_signing_seconds = Histogram(
    "mailwarren_sender_dkim_seconds",
    "From a built mail to its signatures, the wait for a thread with it",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2),
)
_private_key_seconds = Counter(
    "mailwarren_sender_dkim_private_key_seconds_total",
    "CPU seconds that private keys took to sign; the rest of what signing costs is ours",
    ["algorithm"],
)
_key_reads = Counter("mailwarren_sender_dkim_key_reads_total", "Times that a domain's keys were asked for", ["result"])
_key_domains = Gauge("mailwarren_sender_dkim_domains", "Domains whose DKIM keys this sender has")
_keys_missing = Gauge(
    "mailwarren_sender_dkim_domains_missing", "Domains whose mail waits because their DKIM keys cannot be had"
)
_key_age = Gauge(
    "mailwarren_sender_dkim_key_age_seconds", "Since the oldest DKIM keys in use were read; above 600, ingest is away"
)
# A counter that is born with its first count never grows in Prometheus' eyes.
for _algorithm in (RSA, ED25519):
    for _origin in ("made", "kept"):
        _signatures.labels(_algorithm, _origin)
    _private_key_seconds.labels(_algorithm)


def record_signed(made: Iterable[str], reused: Iterable[str], seconds: float) -> None:
    """A mail was signed, by these algorithms."""
    for algorithm in made:
        _signatures_of(algorithm, "made").inc()
    for algorithm in reused:
        _signatures_of(algorithm, "kept").inc()
    _signing_seconds.observe(seconds)


def record_private_key(algorithm: str, seconds: float) -> None:
    """A private key made a signature. Called in threads."""
    _private_key_seconds.labels(algorithm).inc(seconds)


@lru_cache(maxsize=16)
def _signatures_of(algorithm: str, origin: str) -> Counter:
    return _signatures.labels(algorithm, origin)


def record_key_read(result: str) -> None:
    """A domain's keys were ``fetched``, found ``unchanged``, ingest has ``none``, or it is ``away``."""
    _key_reads.labels(result).inc()


def record_keys(domains: int, missing: int, age: float) -> None:
    """Domains with keys, domains whose mail waits for keys, and the age of the oldest keys in use."""
    _key_domains.set(domains)
    _keys_missing.set(missing)
    _key_age.set(age)
