"""What a file of egresses may say, and that what it says is obeyed or refused as a whole."""

import re
from datetime import date
from pathlib import Path
from uuid import UUID

import pytest

from mailwarren.contracts.lanes import Lane
from mailwarren.sender.egress.plan import DEFAULT_POOL
from mailwarren.sender.rules.document import RulesError
from mailwarren.sender.rules.egress import (
    _CHECK,
    _CURVE,
    _EGRESS,
    _ROUTE,
    _WARM_UP,
    STANDARD_DAYS,
    read_egress,
)
from mailwarren.sender.smtp import Source

PAGE = (Path(__file__).parents[5] / "docs" / "egress.md").read_text()
TENANT = UUID("018f0000-0000-7000-8000-000000000001")
ONE = '[egresses.out1]\nhelo = "out1.example.com"\n'


def test_the_example_of_the_page_is_obeyed() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL)
    plan = read_egress(example.encode(), {"out1", "new"})
    assert plan is not None
    assert plan.egresses["out1"].source == Source("out1", "out1.mail.example.com", "192.0.2.10", "2001:db8::10")
    assert plan.egresses["new"].addresses == ("203.0.113.9",)
    warm_up = plan.egresses["new"].warm_up
    assert warm_up is not None
    assert (warm_up.since, warm_up.days[:3], warm_up.sites["google"][:2]) == (
        date(2026, 11, 22),
        (20, 50, 100),
        (10, 20),
    )
    assert plan.pools[DEFAULT_POOL] == {"out1": 9.0, "new": 1.0}
    assert plan.pool_of(Lane.HIGH, "yahoo", TENANT) == "transactional"
    assert plan.pool_of(Lane.BULK, "yahoo", TENANT) == DEFAULT_POOL
    assert plan.senders == ("send.example.com",)


def test_every_key_is_described() -> None:
    keys = {*_EGRESS, *_WARM_UP, *_CURVE, *_ROUTE, *_CHECK}
    assert [key for key in sorted(keys) if f"`{key}`" not in PAGE] == []


def test_without_a_file_there_are_none_and_naming_some_is_a_mistake() -> None:
    assert read_egress(None) is None
    with pytest.raises(RulesError, match="MAILWARREN_EGRESS names out1"):
        read_egress(None, ["out1"])


def test_one_without_an_address_leaves_it_to_the_system() -> None:
    plan = read_egress(ONE.encode())
    assert plan is not None
    egress = plan.egresses["out1"]
    assert (egress.source.fixed, egress.addresses, egress.warm_up) == (False, (), None)
    assert plan.pools == {DEFAULT_POOL: {"out1": 1.0}}


def test_a_warm_up_without_a_curve_has_the_standard_one() -> None:
    plan = read_egress(f"{ONE}warm_up = {{ since = 2026-11-22 }}\n".encode())
    assert plan is not None
    warm_up = plan.egresses["out1"].warm_up
    assert warm_up is not None
    assert warm_up.days == STANDARD_DAYS
    assert list(STANDARD_DAYS) == sorted(STANDARD_DAYS)


def test_addresses_are_written_in_one_way() -> None:
    plan = read_egress(f'{ONE}ipv6 = "2001:DB8:0::1"\npublic = ["2001:db8::0:2"]\n'.encode())
    assert plan is not None
    egress = plan.egresses["out1"]
    assert (egress.source.ipv6, egress.public) == ("2001:db8::1", ("2001:db8::2",))


def test_the_first_route_that_fits_counts() -> None:
    text = f"""{ONE}
[pools]
a = {{ out1 = 1 }}
b = {{ out1 = 1 }}
c = {{ out1 = 1 }}
[[routes]]
pool = "a"
lanes = ["high"]
sites = ["google", "yahoo"]
[[routes]]
pool = "b"
tenants = ["{TENANT}"]
[[routes]]
pool = "c"
sites = ["google"]
"""
    plan = read_egress(text.encode())
    assert plan is not None
    other = UUID(int=7)
    found = [
        plan.pool_of(*mail)
        for mail in (
            (Lane.HIGH, "google", other),
            (Lane.BULK, "google", TENANT),
            (Lane.BULK, "google", other),
            (Lane.HIGH, "x", other),
        )
    ]
    assert found == ["a", "b", "c", DEFAULT_POOL]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"\[egresses\] has none"),
        ("egresses = 1", r"\[egresses\] is not a table"),
        ("[egress.a]\n", "'egress' is no key"),
        ('[egresses.out1]\nhelo = "localhost"\n', "helo: 'localhost' is no full host name"),
        ('[egresses.out1]\nhelo = "a b.example"\n', "helo: 'a b.example'"),
        ("[egresses.out1]\n", "helo: ''"),
        ('[egresses."Out 1"]\nhelo = "a.example"\n', "is no name"),
        (f'{ONE}ipv4 = "2001:db8::1"\n', "ipv4: '2001:db8::1' is no IPv4 address"),
        (f'{ONE}ipv6 = "192.0.2.1"\n', "is no IPv6 address"),
        (f'{ONE}ipv4 = "0.0.0.0"\n', "ipv4: '0.0.0.0'"),
        (f'{ONE}public = ["x"]\n', "public: 'x' is no IP address"),
        (f'{ONE}adress = "192.0.2.1"\n', "'adress' is no key"),
        (f"{ONE}warm_up = {{ curve = 'standard' }}\n", "needs since"),
        (f"{ONE}warm_up = {{ since = 2026-11-22T00:00:00Z }}\n", "since"),
        (f"{ONE}warm_up = {{ since = 2026-11-22, curve = 'fast' }}\n", "no curve 'fast'; there are standard"),
        (f"{ONE}[curves.x]\nsites = {{}}\n", r"\[curves.x\] needs days"),
        (f"{ONE}[curves.x]\ndays = [-1]\n", r"\[curves.x\] days"),
        (f"{ONE}[curves.x]\ndays = []\n", r"\[curves.x\] days"),
        (f"{ONE}[pools]\ndefault = {{ out2 = 1 }}\n", r"\[pools.default\] 'out2' is no key"),
        (f"{ONE}[pools]\ndefault = {{ out1 = 0 }}\n", r"\[pools.default\] out1"),
        (f"{ONE}[pools.default]\n", r"\[pools.default\] has no egress"),
        (f"{ONE}[[routes]]\nlanes = ['high']\n", "pool: None is none of default"),
        (f"{ONE}[[routes]]\npool = 'default'\nlanes = ['urgent']\n", r"\[\[routes\]\] 1 lanes"),
        (f"{ONE}[check]\nsenders = ['not a domain']\n", "senders: 'not a domain'"),
    ],
)
def test_what_cannot_be_obeyed_is_named(text: str, reason: str) -> None:
    with pytest.raises(RulesError, match=reason):
        read_egress(text.encode())


def test_a_sender_that_is_to_have_one_that_is_not_there_is_refused() -> None:
    with pytest.raises(RulesError, match="MAILWARREN_EGRESS names out2, which is not there"):
        read_egress(ONE.encode(), ["out1", "out2"])
