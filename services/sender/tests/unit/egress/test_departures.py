"""Which egress one mail gets, and when it gets none."""

import time
from collections.abc import Collection
from uuid import uuid4

import pytest

from mailwarren.contracts.egress import ROUTED_TOLD, EgressState, PoolRoute, Reservation, day_of
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.parcel import Attempt, Delivery
from mailwarren.contracts.testing import a_delivery, a_parcel
from mailwarren.sender.egress.checks import Checks
from mailwarren.sender.egress.departures import PASSED_ON, Departure, Departures
from mailwarren.sender.egress.dns import Dns
from mailwarren.sender.egress.leases import Leases
from mailwarren.sender.rules.egress import read_egress
from mailwarren.sender.shaping.shaper import NoEgress
from mailwarren.sender.smtp import Abandoned, Host, Reply, Result, Shaping, Site, SiteLimits, SitePolicy

LIMITS = SiteLimits()
SITE = Site("google", (Host("mx.google.test", 25, "192.0.2.99"), Host("mx.google.test", 25, "2001:db8::99")))
TWO = b"""
[egresses.warm]
helo = "warm.example"
[egresses.new]
helo = "new.example"
ipv4 = "127.0.0.1"
warm_up = { since = 2026-01-01, curve = "small" }
[curves.small]
days = [3]
sites = { google = [2] }
[pools]
default = { warm = 1, new = 1000000 }
new = { new = 1 }
[[routes]]
pool = "new"
lanes = ["high"]
"""


class Sending:
    """Departures of a process on the first day of the new egress."""

    def __init__(self, text: bytes = TWO, mine: tuple[str, ...] = (), *, gate: bool = False) -> None:
        self.plan = read_egress(text)
        self.leases: Leases
        self.elsewhere: list[tuple[list[str], str]] = []
        self.is_elsewhere = False
        noon = 1_767_268_800.0  # 2026-01-01
        self.leases = Leases(uuid4(), self._write, clock=lambda: noon)
        self.today = day_of(noon)
        self.checks = Checks(plan=lambda: self.plan, mine=mine, dns=Dns("192.0.2.1"), gate=gate, every=900.0)
        self.checks.bind()
        self.departures = Departures(
            plan=lambda: self.plan,
            mine=mine,
            shaping=lambda: Shaping({"google": SitePolicy(LIMITS)}),
            leases=self.leases,
            checks=self.checks,
            elsewhere=self._ask,
        )

    async def _write(self, entry: Reservation) -> None:
        self.leases.heard(entry)

    def _ask(self, names: Collection[str], site: str) -> bool:
        self.elsewhere.append((sorted(names), site))
        return self.is_elsewhere

    async def depart(self, site: Site = SITE, delivery: Delivery | None = None, **parcel: object) -> Departure:
        return await self.departures.depart(site, a_parcel(**parcel), delivery or a_delivery())


def tried(egress: str, bounce_class: str = "greylisted") -> Delivery:
    return a_delivery(last=Attempt(1, time.time(), bounce_class=bounce_class, egress=egress))


async def test_without_a_plan_nothing_is_changed() -> None:
    sending = Sending()
    sending.plan = None
    found = await sending.depart()
    assert found.site is SITE
    assert (found.egress, sending.departures.planned, sending.departures.states()) == ("", False, ())
    assert sending.departures.limits_of(SITE, lambda _: LIMITS) is LIMITS


async def test_a_new_egress_sends_its_number_and_the_rest_leaves_from_a_warm_one() -> None:
    sending = Sending()
    assert [(await sending.depart()).egress for _ in range(5)] == ["new", "new", "warm", "warm", "warm"]
    (new,) = [state for state in sending.departures.states() if state.name == "new"]
    assert {(one.site, one.most, one.taken) for one in new.warming} == {("google", 2, 2), ("other", 3, 0)}


async def test_routes_are_told_with_the_default_pool_as_the_last() -> None:
    sending = Sending()
    high = PoolRoute(("new",), lanes=(Lane.HIGH,))
    assert sending.departures.routes() == (high, PoolRoute(("warm", "new")))
    route = '[[routes]]\npool = "new"\nsites = ["a{0}.test", "b{0}.test", "c{0}.test"]\n'
    many = "".join(route.format(number) for number in range(ROUTED_TOLD // 4))
    sending.plan = read_egress(TWO + many.encode())
    assert sending.departures.routes() == ()
    sending.plan = None
    assert sending.departures.routes() == ()


async def test_sites_without_a_row_share_one_number() -> None:
    sending = Sending()
    sites = [Site(name, SITE.hosts) for name in ("a.test", "b.test", "c.test", "d.test")]
    assert [(await sending.depart(site)).egress for site in sites] == ["new", "new", "new", "warm"]
    assert (await sending.depart()).egress == "new"  # a row has one of its own


async def test_where_no_egress_is_warm_the_rest_waits_for_the_next_day() -> None:
    sending = Sending()
    for _ in range(2):
        await sending.depart(lane="high")
    with pytest.raises(NoEgress) as raised:
        await sending.depart(lane="high")
    assert raised.value.opens == (sending.today + 1) * 86400.0
    assert (raised.value.site, raised.value.elsewhere, sending.elsewhere) == ("google egress", False, [])


async def test_what_never_got_to_its_dot_is_no_mail_of_the_warm_up() -> None:
    sending = Sending()
    for result in (None, Result(Reply(450, "later")), Result(Abandoned())):
        sending.departures.arrived(await sending.depart(), result)
    sent = await sending.depart()
    sending.departures.arrived(sent, Result(Reply(250, "ok"), dot_at=1.0))
    assert [(await sending.depart()).egress for _ in range(2)] == ["new", "warm"]


async def test_a_mail_keeps_its_egress_and_leaves_one_that_is_blocked() -> None:
    sending = Sending()
    assert (await sending.depart(delivery=tried("warm"))).egress == "warm"
    assert (await sending.depart(delivery=tried("warm", "ip_blocked"))).egress == "new"
    assert (await sending.depart(delivery=tried("new", "ip_blocked"))).egress == "warm"
    assert (await sending.depart(delivery=tried("gone"))).egress == "new"


async def test_an_egress_reaches_hosts_of_its_families_alone() -> None:
    sending = Sending()
    new, warm = await sending.depart(), await sending.depart(delivery=tried("warm"))
    assert [host.address for host in new.site.hosts] == ["192.0.2.99"]
    assert [host.address for host in warm.site.hosts] == ["192.0.2.99", "2001:db8::99"]
    six = Site("google", SITE.hosts[1:])
    assert (await sending.depart(six)).egress == "warm"
    with pytest.raises(NoEgress):
        await sending.depart(six, lane="high")


async def test_a_site_is_seen_from_an_egress_as_one_object_on_a_way_of_its_own() -> None:
    sending = Sending()
    new, again, warm = await sending.depart(), await sending.depart(), await sending.depart(delivery=tried("warm"))
    assert new.site is again.site
    assert len({SITE.route, new.site.route, warm.site.route}) == 3
    assert (new.site.name, new.site.limits) == (SITE.name, SITE.limits)


async def test_a_file_that_changes_sends_mail_another_way() -> None:
    sending = Sending()
    new = (await sending.depart()).site
    assert sending.departures.limits_of(new, lambda _: LIMITS) is LIMITS
    assert sending.departures.limits_of(SITE, lambda _: LIMITS) is None
    sending.plan = read_egress(TWO)
    assert sending.departures.limits_of(new, lambda _: LIMITS) is LIMITS
    sending.plan = read_egress(TWO.replace(b"new.example", b"newer.example"))
    assert sending.departures.limits_of(new, lambda _: LIMITS) is None
    assert (await sending.depart()).site.source.helo == "newer.example"  # type: ignore[union-attr]


async def test_mail_of_a_pool_that_is_elsewhere_goes_to_who_has_it() -> None:
    sending = Sending(mine=("warm",))
    assert (await sending.depart()).egress == "warm"
    sending.is_elsewhere = True
    with pytest.raises(NoEgress) as raised:
        await sending.depart(lane="high")
    assert (raised.value.elsewhere, raised.value.opens) == (True, None)
    assert sending.elsewhere == [(["new"], "google")]
    assert [state.name for state in sending.departures.states()] == ["warm"]


async def test_a_greylisted_mail_is_left_to_who_has_its_egress_a_few_times() -> None:
    sending = Sending(mine=("warm",))
    assert (await sending.depart(delivery=tried("new"))).egress == "warm"  # nobody has it
    sending.is_elsewhere = True
    for shaped in range(PASSED_ON):
        with pytest.raises(NoEgress) as raised:
            await sending.depart(delivery=tried("new"), shaped=shaped)
        assert raised.value.elsewhere
    assert (await sending.depart(delivery=tried("new"), shaped=PASSED_ON)).egress == "warm"
    assert (await sending.depart(delivery=tried("new", "rate_limited"))).egress == "warm"


async def test_an_egress_whose_address_is_not_this_hosts_is_closed() -> None:
    sending = Sending(TWO.replace(b"127.0.0.1", b"192.0.2.7"))
    assert (await sending.depart()).egress == "warm"
    with pytest.raises(NoEgress) as raised:
        await sending.depart(lane="high")
    assert (raised.value.opens, raised.value.elsewhere) == (None, False)
    sending.is_elsewhere = True  # on the host that has it
    with pytest.raises(NoEgress) as raised:
        await sending.depart(lane="high")
    assert raised.value.elsewhere
    new: EgressState = sending.departures.states()[1]
    assert not new.open
    assert "192.0.2.7 bind: expected an address of this host" in new.problems[0]


async def test_under_a_gate_nothing_leaves_before_it_was_looked_at() -> None:
    sending = Sending(gate=True)
    with pytest.raises(NoEgress):
        await sending.depart()
