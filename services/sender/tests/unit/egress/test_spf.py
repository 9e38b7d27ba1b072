"""What SPF says, record by record (RFC 7208)."""

import pytest

from mailwarren.sender.egress.dns import Dns, Found
from mailwarren.sender.egress.spf import Verdict, check_host

IP, IP6 = "192.0.2.10", "2001:db8::10"


class Zone(Dns):
    """Names that the test knows; ``broken`` ones get no answer."""

    def __init__(self, texts: dict[str, list[str]], hosts: dict[str, list[str]] | None = None) -> None:
        super().__init__("192.0.2.53")
        self._texts = texts
        self._hosts = hosts or {}
        self.mx: dict[str, list[str]] = {}
        self.ptr: dict[str, list[str]] = {}
        self.broken: set[str] = set()

    async def texts(self, name: str) -> Found:
        return self._found(name, self._texts)

    async def addresses(self, name: str) -> Found:
        return self._found(name, self._hosts)

    async def exchanges(self, name: str) -> Found:
        return self._found(name, self.mx)

    async def names(self, address: str) -> Found:
        return self._found(address, self.ptr)

    def _found(self, name: str, known: dict[str, list[str]]) -> Found:
        return Found(trouble="no answer") if name in self.broken else Found(tuple(known.get(name, ())))


def a_zone(record: str, **more: str) -> Zone:
    others = {name.replace("_", "."): [text] for name, text in more.items()}
    hosts = {
        "a.test": [IP], "mx1.a.test": ["192.0.2.20"], "mx2.a.test": [IP, IP6], "near.test": ["192.0.2.200"],
        "10.2.0.192.list.test": ["127.0.0.2"], "postmaster.list.test": ["127.0.0.2"], "named.a.test": [IP],
    }  # fmt: skip
    zone = Zone({"a.test": [record]} | others, hosts)
    zone.mx = {"a.test": ["mx1.a.test", "mx2.a.test"], "many.test": [f"m{number}.test" for number in range(11)]}
    zone.ptr = {IP: ["named.a.test"]}
    return zone


async def says(zone: Zone, address: str = IP) -> Verdict:
    verdict, reason = await check_host(zone, address, "A.test.", "postmaster@a.test")
    assert reason
    return verdict


@pytest.mark.parametrize(
    ("record", "verdict"),
    [
        ("v=spf1 -all", "fail"),
        ("v=spf1 ~all", "softfail"),
        ("v=spf1 ?all", "neutral"),
        ("v=spf1", "neutral"),
        ("v=spf10 +all", "none"),
        ("something else", "none"),
        ("v=spf1 ip4:192.0.2.10 -all", "pass"),
        ("v=spf1 IP4:192.0.2.0/24 -ALL", "pass"),
        ("v=spf1 -ip4:192.0.2.0/24 +all", "fail"),
        ("v=spf1 ip4:198.51.100.0/24 ip6:2001:db8::/32 -all", "fail"),
        ("v=spf1 a -all", "pass"),
        ("v=spf1 a:near.test -all", "fail"),
        ("v=spf1 a:near.test/24 -all", "pass"),
        ("v=spf1 mx -all", "pass"),
        ("v=spf1 mx/25//64 -all", "pass"),
        ("v=spf1 include:b.test -all", "pass"),
        ("v=spf1 include:c.test -all", "fail"),
        ("v=spf1 redirect=b.test", "pass"),
        ("v=spf1 redirect=c.test", "fail"),
        ("v=spf1 -all redirect=b.test", "fail"),
        ("v=spf1 exists:%{ir}.list.test -all", "pass"),
        ("v=spf1 exists:%{l}.list.test -all", "pass"),
        ("v=spf1 exists:%{i}.list.test -all", "fail"),
        ("v=spf1 ptr -all", "pass"),
        ("v=spf1 ptr:b.test -all", "fail"),
        ("v=spf1 unknown=x exp=why.test ip4:192.0.2.10 -all", "pass"),
        ("v=spf1 include:nothing.test -all", "permerror"),
        ("v=spf1 redirect=nothing.test", "permerror"),
        ("v=spf1 ip4:192.0.2.10 nonsense", "permerror"),
        ("v=spf1 ip4:2001:db8::/32 -all", "permerror"),
        ("v=spf1 ip4:300.0.0.1 -all", "permerror"),
        ("v=spf1 include -all", "permerror"),
        ("v=spf1 mx:many.test -all", "permerror"),
        ("v=spf1 include:loop.test -all", "permerror"),
        ("v=spf1 a:x.test a:y.test a:z.test ip4:192.0.2.10", "permerror"),
        ("v=spf1 " + "include:c.test " * 11, "permerror"),
    ],
)
async def test_a_record_says_what_receivers_hear(record: str, verdict: str) -> None:
    zone = a_zone(
        record, b_test="v=spf1 ip4:192.0.2.10 -all", c_test="v=spf1 -all", loop_test="v=spf1 include:loop.test"
    )
    assert await says(zone) == verdict


@pytest.mark.parametrize(
    ("record", "verdict"),
    [
        ("v=spf1 ip6:2001:db8::/32 -all", "pass"),
        ("v=spf1 ip4:0.0.0.0/0 -all", "fail"),
        ("v=spf1 mx -all", "pass"),
        ("v=spf1 mx//129 -all", "permerror"),
    ],
)
async def test_of_an_ipv6_address_likewise(record: str, verdict: str) -> None:
    assert await says(a_zone(record), IP6) == verdict


async def test_two_records_are_a_mistake() -> None:
    zone = a_zone("v=spf1 +all")
    zone._texts["a.test"].append("v=spf1 -all")
    assert await says(zone) == Verdict.PERMERROR


async def test_a_name_server_that_does_not_answer_says_nothing() -> None:
    zone = a_zone("v=spf1 include:b.test -all", b_test="v=spf1 -all")
    zone.broken = {"b.test"}
    assert await says(zone) == Verdict.TEMPERROR
    zone.broken = {"a.test"}
    assert await says(zone) == Verdict.TEMPERROR
