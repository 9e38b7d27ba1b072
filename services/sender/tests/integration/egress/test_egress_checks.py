"""What a sender finds when it asks a real name server about its own names, and what it does about it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mailwarren.sender.egress.__main__ import main
from mailwarren.sender.egress.checks import Checks
from mailwarren.sender.egress.dns import Dns
from mailwarren.sender.egress.findings import Check, look_at
from mailwarren.sender.egress.plan import EgressPlan
from mailwarren.sender.rules.egress import read_egress

FILE = """
[egresses.out]
helo = "out.sender.test"
ipv4 = "127.0.0.1"
public = ["192.0.2.10", "2001:db8::10"]
[check]
senders = ["send.sender.test"]
"""
FOUR = "10.2.0.192.in-addr.arpa"
SIX = "0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
SPF = "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"


@pytest.fixture
def plan() -> EgressPlan:
    found = read_egress(FILE.encode())
    assert found is not None
    return found


@pytest.fixture
def right(names) -> Callable[[], None]:
    """Everything as it should be."""

    def publish() -> None:
        names.host("out.sender.test", "192.0.2.10", "2001:db8::10")
        names.reverse(FOUR, "out.sender.test")
        names.reverse(SIX, "Out.Sender.test")
        names.text("send.sender.test", SPF)
        names.text("out.sender.test", "v=spf1 a -all")

    return publish


def checks(plan: EgressPlan, server: str, *, gate: bool = True) -> Checks:
    return Checks(plan=lambda: plan, mine=(), dns=Dns(server, timeout=2.0), gate=gate, every=900.0)


async def test_all_is_well(names, plan, right) -> None:
    right()
    found = await look_at(plan.egresses["out"], plan.senders, Dns(names.address))
    assert {(one.address, one.check) for one in found} == {
        (address, check)
        for address in ("192.0.2.10", "2001:db8::10")
        for check in (Check.HELO, Check.REVERSE_DNS, Check.SPF)
    }
    assert {one.passed for one in found} == {True}
    assert len(found) == 8  # SPF for two names


async def test_each_thing_that_is_wrong_is_named_with_what_was_expected(names, plan, right) -> None:
    right()
    names.records = [one for one in names.records if str(one.rname) not in {f"{FOUR}.", "send.sender.test."}]
    names.reverse(FOUR, "static-10.isp.test")
    names.text("send.sender.test", "v=spf1 ip4:198.51.100.1 ip6:2001:db8::/32 ~all")
    names.host("out.sender.test", "192.0.2.10")
    found = await look_at(plan.egresses["out"], plan.senders, Dns(names.address))
    wrong = {(one.address, one.check): str(one) for one in found if one.passed is False}
    assert wrong.keys() == {
        ("192.0.2.10", Check.REVERSE_DNS), ("192.0.2.10", Check.SPF), ("2001:db8::10", Check.REVERSE_DNS),
        ("2001:db8::10", Check.HELO), ("2001:db8::10", Check.SPF),
    }  # fmt: skip
    assert wrong["192.0.2.10", Check.REVERSE_DNS] == (
        "192.0.2.10 reverse_dns: expected out.sender.test, which leads back to 192.0.2.10; found static-10.isp.test"
    )
    assert "softfail (~all of send.sender.test)" in wrong["192.0.2.10", Check.SPF]
    assert wrong["2001:db8::10", Check.REVERSE_DNS].endswith("found out.sender.test, which has 192.0.2.10")


async def test_a_gate_opens_when_all_is_well_and_closes_when_it_is_not(names, plan, right) -> None:
    gated, open_ = checks(plan, names.address), checks(plan, names.address, gate=False)
    assert gated.closed("out")
    assert gated.trouble == "egress out: not checked yet"
    assert not await gated.look()
    assert not await open_.look()
    assert (gated.closed("out"), open_.closed("out"), open_.trouble) == (True, False, None)
    assert "expected" in open_.problems("out")[0]
    right()
    assert await gated.look()
    assert (gated.closed("out"), gated.trouble, gated.problems("out")) == (False, None, ())
    names.host("out.sender.test", "192.0.2.99", "2001:db8::10")
    assert not await gated.look()
    assert gated.closed("out")


async def test_a_name_server_that_fails_changes_nothing(names, plan, right) -> None:
    right()
    found = checks(plan, names.address)
    assert await found.look()
    names.broken = {FOUR, SIX, "out.sender.test", "send.sender.test"}
    assert not await found.look()
    assert not found.closed("out")
    fresh = checks(plan, names.address)
    assert not await fresh.look()
    assert fresh.closed("out")


async def test_an_egress_without_an_address_cannot_be_checked() -> None:
    plan = read_egress(b'[egresses.out]\nhelo = "out.sender.test"\n')
    assert plan is not None
    (found,) = await look_at(plan.egresses["out"], (), Dns("127.0.0.1:1"))
    assert (found.passed, "no address is named" in found.found) == (False, True)


@pytest.fixture
def command(names, tmp_path: Path, capsys) -> Callable[..., tuple[int, str, str]]:
    file = tmp_path / "egress.toml"
    file.write_text(FILE)

    def run(name: str, *options: str) -> tuple[int, str, str]:
        status = main([name, str(file), "--resolver", names.address, *options])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_the_command_prints_found_and_expected_for_each_address(command, names, right) -> None:
    right()
    status, out, _ = command("check")
    lines = [line.split()[:4] for line in out.splitlines()]
    assert status == 0
    assert lines[0] == ["egress", "address", "check", "result"]
    assert ["out", "127.0.0.1", "bind", "good"] in lines
    assert ["out", "2001:db8::10", "spf", "good"] in lines
    assert "bind" not in command("check", "--elsewhere")[1]
    names.records.clear()
    status, out, _ = command("check", "--egress", "out")
    assert status == 1
    assert "WRONG" in out
    assert "found" in out.splitlines()[0]
    names.broken = {FOUR, SIX, "out.sender.test", "send.sender.test"}
    assert command("check")[0] == 2


def test_the_command_shows_pools_and_refuses_what_a_sender_would(command, tmp_path, capsys) -> None:
    status, out, _ = command("show")
    assert status == 0
    assert "pool default: out 100%" in out
    status, _, error = command("show", "--egress", "nobody")
    assert (status, "MAILWARREN_EGRESS names nobody" in error) == (1, True)
    assert main(["show", str(tmp_path / "absent.toml")]) == 1
    assert "No such file" in capsys.readouterr().err
