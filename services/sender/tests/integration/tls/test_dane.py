"""DANE (RFC 7672) with a resolver that validates, Unbound, and zones that are signed, badly signed and not signed."""

import asyncio
import hashlib
import shutil
import socket
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import dns.dnssec
import dns.message
import dns.query
import dns.rdatatype
import dns.zone
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from mailwarren.contracts.events import Kind
from mailwarren.contracts.tls import TlsPolicy
from mailwarren.sender.smtp import DnsFailure, Resolver
from mailwarren.sink.persona import Tls
from mailwarren.sink.visit import Host

UNBOUND = shutil.which("unbound") or "/usr/sbin/unbound"
SOA = "@ 300 IN SOA ns hostmaster 1 7200 3600 604800 300\n@ 300 IN NS ns\nns 300 IN A 127.0.0.1\n"


class Signed:
    """A zone with a key of its own.

    Args:
        name: Its name.
        text: Its records.
        spoiled: Types of records whose signatures have expired.
    """

    def __init__(self, name: str, text: str, spoiled: Iterable[str] = ()) -> None:
        self.name = name
        key = ec.generate_private_key(ec.SECP256R1())
        self.dnskey = dns.dnssec.make_dnskey(key.public_key(), "ECDSAP256SHA256", 257)
        self.zone = dns.zone.from_text(SOA + text, f"{name}.", relativize=False)
        now, kinds = time.time(), set(spoiled)

        def sign(txn, rrset) -> None:
            age = 30 * 86_400 if dns.rdatatype.to_text(rrset.rdtype) in kinds else 0
            dns.dnssec.default_rrset_signer(
                txn,
                rrset,
                signer=self.zone.origin,
                ksks=[(key, self.dnskey)],
                zsks=[(key, self.dnskey)],
                inception=now - age - 3600,
                expiration=now - age + 86_400,
                origin=self.zone.origin,
            )

        dns.dnssec.sign_zone(self.zone, keys=[(key, self.dnskey)], rrset_signer=sign)

    @property
    def anchor(self) -> str:
        """What a resolver trusts that is to validate it."""
        flags, protocol, algorithm, key = self.dnskey.to_text().split(None, 3)
        return f"{self.name}. IN DNSKEY {flags} {protocol} {algorithm} {key.replace(' ', '')}"


@asynccontextmanager
async def unbound(folder: Path, *zones: Signed, plain: str = "") -> AsyncIterator[str]:
    """A validating resolver that is the authority for these zones, and for ``plain.example`` without signatures."""
    port = _free_port()
    lines = [
        "server:",
        f"interface: 127.0.0.1@{port}",
        "do-daemonize: no", "use-syslog: no", "verbosity: 1", 'username: ""', 'chroot: ""', 'pidfile: ""',
        f'directory: "{folder}"', "do-ip6: no", 'module-config: "validator iterator"', "num-threads: 1",
        *(f'trust-anchor: "{zone.anchor}"' for zone in zones),
        "remote-control:", "control-enable: no",
    ]  # fmt: skip
    texts = {zone.name: zone.zone.to_text(relativize=False) for zone in zones}
    texts["plain.example"] = dns.zone.from_text(SOA + plain, "plain.example.", relativize=False).to_text(
        relativize=False
    )
    for name, text in texts.items():
        (folder / f"{name}.zone").write_text(text)
        lines += ["auth-zone:", f'name: "{name}."', f'zonefile: "{folder}/{name}.zone"']
        lines += ["for-downstream: no", "for-upstream: yes", "fallback-enabled: no"]
    (folder / "unbound.conf").write_text("\n".join(lines) + "\n")
    with (folder / "unbound.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            UNBOUND, "-d", "-p", "-c", str(folder / "unbound.conf"), stdout=log, stderr=log
        )
    try:
        await _answers(port, process, folder / "unbound.log")
        yield f"127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _free_port() -> int:
    """A port that is free for UDP and for TCP."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, socket.socket() as tcp:
            udp.bind(("127.0.0.1", 0))
            port: int = udp.getsockname()[1]
            try:
                tcp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


async def _answers(port: int, process: asyncio.subprocess.Process, log: Path) -> None:
    question = dns.message.make_query("plain.example.", "SOA")
    for _ in range(100):
        assert process.returncode is None, log.read_text()
        try:
            ask = partial(dns.query.udp, question, "127.0.0.1", port=port, timeout=0.2)
            if (await asyncio.to_thread(ask)).answer:
                return
        except (OSError, dns.exception.Timeout):
            pass
        await asyncio.sleep(0.02)
    raise AssertionError(log.read_text())


@pytest.fixture
async def validating(nothing_leaks, tmp_path, free_port):
    """A resolver for ``signed.example`` with these records: ``await validating("mx 300 IN A 127.0.0.2", …)``."""
    async with AsyncExitStack() as stack:

        async def make(*records: str, spoiled: Iterable[str] = (), plain: str = "") -> Resolver:
            text = "\n".join(("@ 300 IN MX 10 mx", "mx 300 IN A 127.0.0.2", *records)) + "\n"
            address = await stack.enter_async_context(
                unbound(tmp_path, Signed("signed.example", text, spoiled), plain=plain)
            )
            return Resolver([address], private=True, tlsa_port=free_port, timeout=5.0)

        yield make


@pytest.fixture
async def host(mail_hosts, free_port):
    """The mail host of ``signed.example``, and its TLSA records: ``sink, records = await host("expired")``."""

    async def make(kind: str, name: str = "mx.signed.example"):
        sink = await mail_hosts({name: {"tls": kind}})
        at = Host(f"127.0.0.2:{free_port}", "127.0.0.2", free_port, name)
        shown = Tls(kind) if kind not in {"none", "broken"} else Tls.VALID
        records = [f"_{free_port}._tcp.mx 300 IN TLSA {rest}" for rest in sink.certificates.tlsa(shown, at)]
        return sink, {" ".join(record.split()[4:7]): record for record in records}

    return make


@pytest.mark.parametrize(
    ("which", "kind"),
    [
        *((which, "valid") for which in ("3 0 0", "3 0 1", "3 0 2", "3 1 0", "3 1 2")),
        *(("3 1 1", kind) for kind in ("valid", "expired", "not_yet_valid", "wrong_name", "self_signed", "untrusted")),
    ],
)
async def test_an_end_entity_that_fits_is_enough_whatever_its_dates_and_names(
    host, validating, make_sender, which, kind
):
    _, records = await host(kind)
    sender = make_sender(resolver=await validating(records[which]))

    tried = await sender.send("signed.example")

    assert (tried.kind, tried.attempt.tls_policy) == (Kind.DELIVERED, "dane")
    assert tried.attempt.tls is not None
    (session,) = tried.attempt.sessions
    assert (session.policy, session.result) == (TlsPolicy.DANE, "")
    assert session.policy_string[0].startswith(which)


@pytest.mark.parametrize("which", ["2 0 0", "2 0 1", "2 0 2", "2 1 0", "2 1 1", "2 1 2"])
async def test_a_trust_anchor_that_the_server_shows_vouches_for_it(host, validating, make_sender, which):
    _, records = await host("with_authority")

    tried = await make_sender(resolver=await validating(records[which])).send("signed.example")

    assert (tried.kind, tried.attempt.bounce_class, tried.attempt.trouble) == (Kind.DELIVERED, None, None)


@pytest.mark.parametrize(
    ("kind", "which", "name", "report"),
    [
        ("valid", "2 0 1", "tls_tlsa_mismatch", "validation-failure"),  # the anchor is neither shown nor in the record
        ("expired", "2 0 0", "tls_expired", "certificate-expired"),
        ("not_yet_valid", "2 0 0", "tls_not_yet_valid", "validation-failure"),
        ("wrong_name", "2 0 0", "tls_wrong_name", "certificate-host-mismatch"),
        ("untrusted", "2 0 0", "tls_certificate", "validation-failure"),  # another key under the anchor's name
        ("none", "3 1 1", "tls_not_offered", "starttls-not-supported"),
        ("broken", "3 1 1", "tls_handshake", "validation-failure"),
        ("old_version", "3 1 1", "tls_old_version", "validation-failure"),
    ],
)
async def test_what_a_record_does_not_fit_defers_with_its_class(
    host, validating, make_sender, kind, which, name, report
):
    sink, records = await host(kind)

    tried = await make_sender(resolver=await validating(records[which])).send("signed.example")

    assert (tried.kind, tried.attempt.bounce_class) == (Kind.DEFERRED, name)
    assert tried.attempt.trouble.startswith("tls: ")
    assert tried.attempt.tls_policy == "dane"
    assert [(one.policy, one.result) for one in tried.attempt.sessions] == [(TlsPolicy.DANE, report)]
    assert sink.store.stats().received == 0


@pytest.mark.parametrize("which", ["3 1 1", "3 0 2", "2 1 1"])
async def test_the_digest_of_another_certificate_fits_nothing(host, validating, make_sender, free_port, which):
    sink, _ = await host("with_authority")
    digest = hashlib.new("sha512" if which.endswith("2") else "sha256", b"another").hexdigest()

    tried = await make_sender(resolver=await validating(f"_{free_port}._tcp.mx 300 IN TLSA {which} {digest}")).send(
        "signed.example"
    )

    assert tried.attempt.bounce_class == "tls_tlsa_mismatch"
    assert "no TLSA record of mx.signed.example fits its certificate" in tried.attempt.trouble
    assert tried.attempt.sessions[0].result == "validation-failure"
    assert sink.store.stats().received == 0


async def test_one_record_that_fits_among_others_is_enough(host, validating, make_sender, free_port):
    _, records = await host("valid")
    wrong = f"_{free_port}._tcp.mx 300 IN TLSA 3 1 1 {'00' * 32}"

    tried = await make_sender(resolver=await validating(wrong, records["3 1 1"])).send("signed.example")

    assert tried.kind is Kind.DELIVERED


@pytest.mark.parametrize(
    "record", ["0 0 1 " + "00" * 32, "1 1 1 " + "00" * 32, "3 2 1 " + "00" * 32, "3 1 3 " + "00" * 32]
)
async def test_records_that_smtp_cannot_use_ask_for_tls_whatever_the_certificate(
    host, validating, make_sender, free_port, record
):
    sink, _ = await host("self_signed")
    sender = make_sender(resolver=await validating(f"_{free_port}._tcp.mx 300 IN TLSA {record}"))

    tried = await sender.send("signed.example")
    assert (tried.kind, tried.attempt.tls_policy) == (Kind.DELIVERED, "dane")
    assert tried.attempt.tls is not None

    sink.play({"personas": [{"hosts": ["mx.signed.example"], "tls": "none"}]})
    assert (await sender.send("signed.example")).attempt.bounce_class == "tls_not_offered"


async def test_a_domain_that_says_nothing_is_spoken_to_as_ever(host, validating, make_sender):
    await host("none")

    tried = await make_sender(resolver=await validating()).send("signed.example")

    assert (tried.kind, tried.attempt.tls_policy) == (Kind.DELIVERED, None)
    assert [(one.policy, one.result) for one in tried.attempt.sessions] == [(TlsPolicy.NONE, "starttls-not-supported")]


async def test_records_whose_signature_is_bad_make_the_mail_wait(host, validating, make_sender):
    sink, records = await host("valid")

    tried = await make_sender(resolver=await validating(records["3 1 1"], spoiled=["TLSA"])).send("signed.example")

    assert (tried.kind, tried.attempt.bounce_class) == (Kind.DEFERRED, "tls_dnssec")
    assert tried.attempt.trouble.startswith("tls: TLSA records of mx.signed.example: DNS lookup failed")
    (session,) = tried.attempt.sessions
    assert (session.policy, session.result) == (TlsPolicy.DANE, "dnssec-invalid")
    assert sink.store.stats().received == 0


@pytest.mark.parametrize("spoiled", ["MX", "A"])
async def test_mail_hosts_whose_signature_is_bad_are_no_mail_hosts(host, validating, make_sender, spoiled):
    sink, records = await host("valid")

    tried = await make_sender(resolver=await validating(records["3 1 1"], spoiled=[spoiled])).send("signed.example")

    assert (tried.kind, tried.attempt.bounce_class) == (Kind.DEFERRED, "dns")
    assert sink.store.stats().received == 0


async def test_records_count_only_where_mx_and_addresses_are_signed_too(host, validating, make_sender, free_port):
    """RFC 7672 §2.2: what an unsigned MX names could be anybody's."""
    await host("valid")
    wrong = f"_{free_port}._tcp.mx 300 IN TLSA 3 1 1 {'00' * 32}"
    resolver = await validating(wrong, plain="@ 300 IN MX 10 mx.signed.example.\n")
    sender = make_sender(resolver=resolver)

    plain, signed = await sender.send("plain.example"), await sender.send("signed.example")

    assert (plain.kind, plain.attempt.tls_policy) == (Kind.DELIVERED, None)
    assert signed.attempt.bounce_class == "tls_tlsa_mismatch"
    assert (await sender.send("plain.example")).kind is Kind.DELIVERED, "the one stands in nobody's way"


async def test_a_host_in_an_unsigned_zone_has_no_records(host, validating, make_sender, free_port):
    await host("valid", "mx.plain.example")
    wrong = f"_{free_port}._tcp.mx 300 IN TLSA 3 1 1 {'00' * 32}\nmx 300 IN A 127.0.0.2\n"
    resolver = await validating("other 300 IN MX 10 mx.plain.example.", plain=wrong)

    tried = await make_sender(resolver=resolver).send("other.signed.example")

    assert (tried.kind, tried.attempt.tls_policy) == (Kind.DELIVERED, None)


async def test_a_domain_that_is_its_own_mail_host_has_records_too(host, validating, make_sender, free_port):
    await host("valid", "self.signed.example")
    wrong = f"_{free_port}._tcp.self 300 IN TLSA 3 1 1 {'00' * 32}"
    resolver = await validating("self 300 IN A 127.0.0.2", wrong)

    assert (await make_sender(resolver=resolver).send("self.signed.example")).attempt.bounce_class == (
        "tls_tlsa_mismatch"
    )


async def test_the_records_of_the_name_behind_an_alias_come_first(host, validating, make_sender, free_port):
    """RFC 7672 §2.2.3. The certificate is for that name, too."""
    _, records = await host("with_authority", "real.signed.example")
    alias = ("other 300 IN MX 10 alias", "alias 300 IN CNAME real", "real 300 IN A 127.0.0.2")
    wrong = f"_{free_port}._tcp.alias 300 IN TLSA 3 1 1 {'00' * 32}"
    resolver = await validating(*alias, records["2 0 0"].replace("._tcp.mx ", "._tcp.real "), wrong)

    tried = await make_sender(resolver=resolver).send("other.signed.example")

    assert (tried.kind, tried.attempt.tls_policy, tried.attempt.trouble) == (Kind.DELIVERED, "dane", None)


@pytest.mark.parametrize(("fits", "name"), [(True, None), (False, "tls_tlsa_mismatch")])
async def test_where_the_name_behind_an_alias_has_none_the_aliass_count(
    host, validating, make_sender, free_port, fits, name
):
    _, records = await host("valid", "real.signed.example")
    at_alias = records["3 1 1"] if fits else f"_{free_port}._tcp.mx 300 IN TLSA 3 1 1 {'00' * 32}"
    alias = ("other 300 IN MX 10 alias", "alias 300 IN CNAME real", "real 300 IN A 127.0.0.2")
    resolver = await validating(*alias, at_alias.replace("._tcp.mx ", "._tcp.alias "))

    tried = await make_sender(resolver=resolver).send("other.signed.example")

    assert (tried.attempt.tls_policy, tried.attempt.bounce_class) == ("dane", name)


async def test_an_alias_that_leads_out_of_what_is_signed_has_no_records(host, validating, make_sender, free_port):
    await host("valid", "mx.plain.example")
    wrong = f"_{free_port}._tcp.alias 300 IN TLSA 3 1 1 {'00' * 32}"
    resolver = await validating(
        "other 300 IN MX 10 alias", "alias 300 IN CNAME mx.plain.example.", wrong, plain="mx 300 IN A 127.0.0.2\n"
    )

    tried = await make_sender(resolver=resolver).send("other.signed.example")

    assert (tried.kind, tried.attempt.tls_policy) == (Kind.DELIVERED, None)


async def test_dane_comes_before_mta_sts_and_before_the_row(host, validating, make_sender, zone, web, monkeypatch):
    """A policy that names other hosts, and a row that wants an authority that nobody has: neither is asked."""
    sink, records = await host("self_signed")
    resolver = await validating(records["3 1 1"], '_mta-sts 300 IN TXT "v=STSv1; id=1;"', "mta-sts 300 IN A 127.0.0.1")
    web.policy("signed.example", "mode: enforce", "mx: elsewhere.example", "max_age: 86400")
    sender = make_sender(web.pem, resolver=resolver, sts_port=web.port, rows=b"[default]\ntls = 'verify'\n")

    tried = await sender.send("signed.example", tls=True)

    assert (tried.kind, tried.attempt.tls_policy) == (Kind.DELIVERED, "dane")
    assert sender.fetches == ["ok"]
    assert sink.store.stats().accepted == 1


async def test_a_resolver_that_does_not_validate_is_asked_for_no_records(zone, free_port):
    zone.mx("a.example", "mx.a.example")
    zone.a("mx.a.example", "127.0.0.2")
    plain = Resolver([zone.address], private=True)
    asked = Resolver([zone.address], private=True, tlsa_port=free_port)

    for resolver in (plain, asked):
        hosts = await resolver.mail_hosts("a.example")
        assert not isinstance(hosts, DnsFailure)
        assert hosts[0].dane is None
        await resolver.close()

    assert not [kind for _, kind in zone.asked if kind == "TLSA"], "nor one that sets no AD"
