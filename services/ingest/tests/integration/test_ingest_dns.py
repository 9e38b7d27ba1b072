"""Records as they are in the DNS: long texts, aliases, names that fail, and SPF with all that it includes."""

from collections.abc import Iterator

import pytest
from private_dns import PrivateDns, private_dns

from mailwarren.ingest.adapters.dns import Dns, nameserver
from mailwarren.ingest.adapters.spf import read_spf
from mailwarren.ingest.domain.dns_records import Found
from mailwarren.ingest.domain.spf import spf_problem, wanted_terms

OURS = "include:_spf.mail.test"


@pytest.fixture(scope="module")
def server() -> Iterator[PrivateDns]:
    with private_dns() as running:
        running.text("_spf.mail.test", "v=spf1 ip4:192.0.2.10 -all")
        yield running


@pytest.fixture
def dns(server: PrivateDns) -> Dns:
    return Dns(server.address, timeout=2.0)


async def problem(dns: Dns, name: str) -> str | None:
    spf = await read_spf(dns, name)
    assert spf.trouble is None
    return spf_problem(spf, wanted_terms(OURS), name)


async def test_a_long_text_is_joined_from_its_strings(server, dns) -> None:
    value = "v=DKIM1; k=rsa; p=" + "A" * 900
    for string in (255, 100, 1000):
        server.text("long.test", value, string=min(string, 255))
        # Longer than an answer over UDP: asked for again over TCP.
        assert await dns.texts("long.test") == Found(values=(value,))


async def test_records_behind_aliases_are_found_and_the_way_is_shown(server, dns) -> None:
    server.alias("sel._domainkey.a.test", "sel.dkim.b.test")
    server.alias("sel.dkim.b.test", "key.c.test")
    server.text("key.c.test", "v=DKIM1; p=abc")
    found = await dns.texts("sel._domainkey.a.test")
    assert found == Found(values=("v=DKIM1; p=abc",), aliases=("sel.dkim.b.test", "key.c.test"))


async def test_what_is_not_there_and_what_does_not_answer_are_different(server, dns) -> None:
    server.broken.add("broken.test")
    server.silent.add("silent.test")
    server.exchange("mx.test", (20, "B.mail.test"), (10, "a.mail.test"))
    assert await dns.texts("none.test") == await dns.texts("mx.test") == Found()
    assert sorted((await dns.exchanges("mx.test")).values) == ["10 a.mail.test", "20 b.mail.test"]
    broken = await dns.texts("broken.test")
    assert broken.values == ()
    assert "its name servers fail" in str(broken.trouble)
    silent = await Dns(server.address, timeout=0.2).texts("silent.test")
    assert "no answer in time" in str(silent.trouble)
    assert "no name that the DNS could have" in str((await dns.texts("x" * 64 + ".test")).trouble)


async def test_spf_is_read_with_what_it_includes(server, dns) -> None:
    server.text("direct.test", f"v=spf1 {OURS} ~all", "google-site-verification=abc")
    server.text("nested.test", "v=spf1 include:direct.test -all")
    server.text("redirected.test", "v=spf1 redirect=nested.test")
    for name in ("direct.test", "nested.test", "redirected.test"):
        assert await problem(dns, name) is None, name
    server.text("other.test", "v=spf1 ip4:198.51.100.1 -all")
    assert f"lacks `{OURS}`" in str(await problem(dns, "other.test"))
    server.text("refuses.test", f"v=spf1 -{OURS} ~all")
    assert "lacks" in str(await problem(dns, "refuses.test"))
    refused = await read_spf(dns, "refuses.test")
    assert refused.terms == frozenset()


async def test_what_stands_behind_all_is_never_asked(server, dns) -> None:
    server.text("behind.test", f"v=spf1 ip4:198.51.100.1 -all {OURS}")
    assert "lacks" in str(await problem(dns, "behind.test"))
    server.text("included.test", "v=spf1 include:behind.test ~all")
    assert "lacks" in str(await problem(dns, "included.test"))


async def test_two_records_and_lookups_beyond_ten_are_errors_as_they_are_to_receivers(server, dns) -> None:
    server.text("two.test", f"v=spf1 {OURS} ~all", "v=spf1 -all")
    assert "2 SPF records" in str(await problem(dns, "two.test"))
    # Nine of its own, our include, and what that includes: eleven.
    server.text("_many.test", "v=spf1 a -all")
    hosts = " ".join(f"a:h{n}.test" for n in range(8))
    server.text("ten.test", f"v=spf1 {OURS} mx {hosts} -all")
    assert await problem(dns, "ten.test") is None
    server.text("eleven.test", f"v=spf1 {OURS} {hosts} include:_many.test -all")
    assert "more than 10 lookups" in str(await problem(dns, "eleven.test"))
    server.text("ring1.test", "v=spf1 include:ring2.test -all")
    server.text("ring2.test", "v=spf1 include:ring1.test -all")
    before = server.asked.total()
    assert "more than 10 lookups" in str(await problem(dns, "ring1.test"))
    assert server.asked.total() - before <= 12


async def test_includes_that_receivers_would_stumble_over_are_named(server, dns) -> None:
    server.text("void.test", f"v=spf1 {OURS} include:nothing.test -all")
    assert "names nothing.test, which has no SPF record" in str(await problem(dns, "void.test"))
    server.text("typo.test", f"v=spf1 {OURS} inclued:x.test -all")
    assert "do not understand the SPF record at typo.test" in str(await problem(dns, "typo.test"))
    server.text("inner.test", f"v=spf1 {OURS} include:typo.test -all")
    assert "typo.test" in str(await problem(dns, "inner.test"))
    # A macro cannot be followed, only counted.
    server.text("macro.test", f"v=spf1 {OURS} include:%{{d}}._spf.test exists:%{{i}}.test -all")
    assert await problem(dns, "macro.test") is None
    server.broken.add("away.test")
    server.text("half.test", f"v=spf1 include:away.test {OURS} -all")
    assert "away.test" in str((await read_spf(dns, "half.test")).trouble)


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("192.0.2.1", "192.0.2.1", 53),
        ("192.0.2.1:5353", "192.0.2.1", 5353),
        ("2001:db8::1", "2001:db8::1", 53),
        ("[2001:db8::1]:5353", "2001:db8::1", 5353),
    ],
)
def test_a_resolver_is_an_address_with_or_without_a_port(text: str, address: str, port: int) -> None:
    found = nameserver(text)
    assert (found.address, found.port) == (address, port)


@pytest.mark.parametrize("text", ["", "dns.test", "192.0.2.1:x", "192.0.2.1:70000", "192.0.2"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the setting's name is added by pydantic
        nameserver(text)
