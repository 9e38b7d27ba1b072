"""Signed mail: domains with keys of their own, made over the API, and what their signatures cost."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_private_key

from mailwarren.bench import ours
from mailwarren.bench.result import Result
from mailwarren.bench.stand import Stand
from mailwarren.bench.work import ENVELOPE_SENDER, make_work
from mailwarren.devstack.harness.dkim import dkimpy_says, make_pair

LOOKED_AT = 20
"""Mails of each run that a verifier gets, which is not ours."""
SIGNED_WITHIN = 15.0
"""Seconds after which the API has to sign for a new domain."""
SIGNATURES = 300
"""Made alone, for the price of OpenSSL on a machine that does nothing else."""
OPENSSL = "mailwarren_sender_dkim_private_key_seconds_total"
CONNECTIONS = 20
"""Of the stand's senders."""
OWN_LATENCY = 5.0
"""Milliseconds that a mail takes on its connection besides what the sink waits."""
ROUNDS = 3
"""Of mail from one domain and from many, in turn: what else the machine does falls on both. The middle one counts."""

Records = dict[str, str]
"""TXT records by name."""


def run_signed(stand: Stand, count: int) -> dict[str, Result]:
    """``count`` bulk mails before their domain has keys, as many after, and unsigned ones that take as long.

    Mail that comes slowly goes through broker, sender and tracker in smaller batches, signed or not: what a signature
    costs is the difference to mail of the same rate.
    """
    plain = ours.run_bulk(stand, count)
    domain = ENVELOPE_SENDER.rpartition("@")[2]
    records = add_domain(stand, domain)
    wait_signed(stand, domain, records)
    ours.run_bulk(stand, count // 10)
    before = stand.senders_total(OPENSSL)
    signed = ours.run_bulk(stand, count)
    # In the run itself: two cores that share their units are slower when both are busy, and so is OpenSSL.
    signed.notes["openssl_us"] = (stand.senders_total(OPENSSL) - before) / count * 1e6
    signed.notes["openssl_alone_us"] = openssl_microseconds()
    verify(stand, records)
    slow = run_slow(stand, count // 2, signed.rate)
    plain.name, signed.name, slow.name = "bulk, unsigned", "bulk, signed", "bulk, unsigned and as slow"
    return {"unsigned": plain, "signed": signed, "unsigned and slow": slow}


def run_slow(stand: Stand, count: int, rate: float) -> Result:
    """``count`` unsigned bulk mails to a sink that answers so late that there are about ``rate`` in a second."""
    if stand.system.sink is None:
        raise RuntimeError("the stand has no sink")
    stand.system.sink.play({"domains": ["*"], "dot_latency_ms": max(0.0, 1000 * CONNECTIONS / rate - OWN_LATENCY)})
    work = make_work(count)
    result = ours.whole_way(
        stand, "slow", "/emails/bulk", ours.bulk_bodies(work, sender="ada@unsigned.test"), count, connections=1
    )
    stand.system.sink.play()
    return result


def run_domains(stand: Stand, domains: int, *, each: int) -> dict[str, Result]:
    """Calls of ``each`` mails from one domain, and as many from ``domains`` of them: the middle one of several runs."""
    names = [f"s{number}.test" for number in range(domains)]
    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda name: add_domain(stand, name), names))
    records = {name: value for one in made for name, value in one.items()}
    wait_signed(stand, names[-1], records)
    chosen = {"one domain": names[:1] * domains, "many domains": names}
    for senders in chosen.values():
        _run(stand, "keys are fetched", senders, 1)
    found: dict[str, list[Result]] = {key: [] for key in chosen}
    for _ in range(ROUNDS):
        for key, senders in chosen.items():
            result = _run(stand, f"signed, {len(set(senders)):,} domains", senders, each)
            verify(stand, records)
            result.notes["domains"] = len(set(senders))
            found[key].append(result)
    return {key: sorted(runs, key=lambda run: run.cpu["sender"])[ROUNDS // 2] for key, runs in found.items()}


def _run(stand: Stand, name: str, senders: Sequence[str], each: int) -> Result:
    work = make_work(len(senders) * each)
    bodies = [
        body
        for number, sender in enumerate(senders)
        for body in ours.bulk_bodies(work[number * each : (number + 1) * each], sender=f"ada@{sender}")
    ]
    return ours.whole_way(stand, name, "/emails/bulk", bodies, len(work), connections=8)


def add_domain(stand: Stand, name: str) -> Records:
    """Make a sending domain; the records of its keys."""
    if stand.system.api is None:
        raise RuntimeError("the stand has no API")
    answer = stand.system.api.post("/domains", json={"name": name}).raise_for_status().json()
    return {one["name"]: one["value"] for one in answer["records"] if one["record"] == "DKIM"}


def wait_signed(stand: Stand, domain: str, records: Records) -> None:
    """Return when mail of ``domain`` arrives signed.

    Raises:
        TimeoutError: it does not.
    """
    end = time.monotonic() + SIGNED_WITHIN
    while time.monotonic() < end:
        stand.sink.forget()
        stand.system.send("probe@d0.test", **{"from": f"ada@{domain}"}).raise_for_status()
        stand.sink.wait_for(1, 30)
        if all(any(dkimpy_says(mail, records)) for mail in _newest(stand, 1)):
            return
        time.sleep(0.2)
    raise TimeoutError(f"mail of {domain} is not signed after {SIGNED_WITHIN:.0f} s")


def verify(stand: Stand, records: Records) -> None:
    """Hold the newest mails against the records.

    Raises:
        RuntimeError: one is unsigned, or its signature is wrong.
    """
    wrong = [mail for mail in _newest(stand, LOOKED_AT) if not all(dkimpy_says(mail, records) or [False])]
    if wrong:
        raise RuntimeError(f"{len(wrong)} of {LOOKED_AT} mails are not signed as they should be")


def openssl_microseconds() -> float:
    """CPU of one RSA-2048 signature alone."""
    key = load_der_private_key(make_pair("bench").key.private, None)
    if not isinstance(key, RSAPrivateKey):
        raise TypeError("a pair is RSA unless it is asked for otherwise")
    padding, digest = PKCS1v15(), SHA256()
    begin = time.process_time()
    for number in range(SIGNATURES):
        key.sign(b"%d" % number, padding, digest)
    return (time.process_time() - begin) / SIGNATURES * 1e6


def _newest(stand: Stand, count: int) -> list[bytes]:
    if stand.system.sink is None:
        raise RuntimeError("the stand has no sink")
    with httpx.Client(base_url=stand.system.sink.url, timeout=30) as client:
        shown = client.get("/messages", params={"limit": count}).raise_for_status().json()
        return [client.get(f"/messages/{one['n']}/raw").raise_for_status().content for one in shown]
