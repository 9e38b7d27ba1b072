"""Decisions: repeatable, independent of order, and true to their shares."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.sink.policy import Policy, Recipient
from mailwarren.sink.role import Verdict, draw
from mailwarren.sink.script import read_script
from mailwarren.sink.visit import Host, Visit

HOST = Host("127.0.0.1:2525", "127.0.0.1", 2525)


def policy(*personas: dict[str, object], seed: int = 1, **rest: object) -> Policy:
    return Policy(read_script({"seed": seed, "personas": list(personas), **rest}))


def visit(connection: int = 1, *, client: str = "192.0.2.7", host: Host = HOST) -> Visit:
    return Visit(connection=connection, host=host, client=client)


def rcpt(
    playing: Policy, address: bytes, now: float = 0.0, *, on: Visit | None = None, sender: bytes = b"s@z.test"
) -> tuple[Verdict, Recipient]:
    return playing.rcpt(on or visit(), sender, address, address.partition(b"@")[2], now)


def refused_at_rcpt(playing: Policy, address: bytes, now: float = 0.0, **given: Any) -> int:
    return rcpt(playing, address, now, **given)[0].code


def test_without_personas_nothing_is_refused_or_delayed() -> None:
    playing = policy()
    verdict, recipient = rcpt(playing, b"a@x.test")
    assert [Verdict()] * 5 == [
        playing.connect(visit(), 0.0),
        playing.mail(visit(), b"s@y.test", 0.0),
        verdict,
        playing.data([recipient]),
        playing.dot(b"<1>", [recipient]),
    ]


@given(st.integers(), st.text(), st.binary(), st.integers(min_value=1))
def test_a_draw_is_in_range_and_repeatable(seed: int, rule: str, key: bytes, attempt: int) -> None:
    rule = rule.encode("utf-8", "replace").decode()
    assert 0 <= draw(seed, rule, key, attempt) < 1
    assert draw(seed, rule, key, attempt) == draw(seed, rule, key, attempt)


def test_decisions_do_not_depend_on_the_order_of_arrival() -> None:
    flaky = {"domains": ["*"], "rules": [{"stage": "rcpt", "code": 451, "share": 0.3}]}
    addresses = [b"u%d@x.test" % i for i in range(500)]

    def run(order: list[bytes]) -> dict[bytes, list[int]]:
        playing = policy(flaky)
        seen: dict[bytes, list[int]] = {a: [] for a in addresses}
        for address in order:
            seen[address].append(refused_at_rcpt(playing, address))
        return seen

    shuffled = addresses * 3
    random.Random(5).shuffle(shuffled)
    assert run(addresses * 3) == run(shuffled)


def test_a_share_is_kept_and_another_seed_decides_otherwise() -> None:
    flaky = {"domains": ["*"], "rules": [{"stage": "rcpt", "code": 451, "share": 0.3}]}

    def refused(seed: int) -> set[int]:
        playing = policy(flaky, seed=seed)
        return {i for i in range(5000) if refused_at_rcpt(playing, b"u%d@x.test" % i)}

    # 5,000 draws at 0.3: five standard deviations are 162.
    assert pytest.approx(len(refused(1)), abs=162) == 1500
    assert refused(1) == refused(1)
    assert refused(1) != refused(2)


def test_every_attempt_is_a_new_draw() -> None:
    playing = policy({"domains": ["*"], "rules": [{"stage": "rcpt", "code": 451, "share": 0.5}]})
    codes = [refused_at_rcpt(playing, b"u@x.test") for _ in range(64)]
    assert {0, 451} == set(codes)


def test_two_rules_of_one_share_do_not_hit_the_same_recipients() -> None:
    rules = [{"stage": "rcpt", "code": code, "share": 0.5} for code in (451, 452)]
    playing = policy({"domains": ["*"], "rules": rules})
    codes = [refused_at_rcpt(playing, b"u%d@x.test" % i) for i in range(4000)]
    # Half to the first rule, half of the rest to the second: five standard deviations are 158 and 137.
    assert pytest.approx(codes.count(451), abs=158) == 2000
    assert pytest.approx(codes.count(452), abs=137) == 1000


def test_first_attempts_end() -> None:
    playing = policy({"domains": ["x.test"], "rules": [{"stage": "rcpt", "code": 451, "first_attempts": 2}]})
    assert [refused_at_rcpt(playing, b"u@x.test") for _ in range(4)] == [451, 451, 0, 0]
    assert refused_at_rcpt(playing, b"v@x.test") == 451


def test_at_the_dot_attempts_belong_to_the_message_id() -> None:
    playing = policy({"domains": ["x.test"], "rules": [{"stage": "dot", "code": 451, "first_attempts": 1}]})
    recipient = rcpt(playing, b"u@x.test")[1]
    codes = [playing.dot(mid, [recipient]).code for mid in (b"<1>", b"<2>", b"<1>", b"<2>")]
    assert codes == [451, 451, 0, 0]


def test_the_first_persona_that_matches_wins() -> None:
    playing = policy(
        {"domains": ["mx.x.test"], "rules": [{"stage": "rcpt", "code": 450}]},
        {"domains": ["y.test", "*.x.test"], "rules": [{"stage": "rcpt", "code": 550}]},
        {"domains": ["*"], "rules": [{"stage": "rcpt", "code": 554}]},
    )
    domains = (b"mx.x.test", b"a.x.test", b"y.test", b"x.test", b"")
    assert [rcpt(playing, b"u@" + d)[0].code for d in domains] == [450, 550, 550, 554, 554]


def test_greylisting_counts_from_the_first_try_of_each_recipient() -> None:
    playing = policy({"domains": ["x.test"], "greylist_s": 60})
    assert [refused_at_rcpt(playing, b"u@x.test", now) for now in (100.0, 159.9, 160.0)] == [450, 450, 0]
    assert refused_at_rcpt(playing, b"v@x.test", 160.0) == 450
    verdict = rcpt(playing, b"v@x.test", 170.0)[0]
    assert verdict.reply[:10] == b"450 4.7.1 "


def test_delays_add_up() -> None:
    playing = policy(
        {"domains": ["x.test"], "latency_ms": 20, "dot_latency_ms": 300, "tarpit_ms_per_rcpt": 5},
        {"domains": ["*"], "latency_ms": 1},
    )
    verdict, slow = rcpt(playing, b"a@x.test")
    quick = rcpt(playing, b"a@y.test")[1]
    assert pytest.approx(verdict.delay) == 0.025
    assert pytest.approx(playing.data([quick, slow]).delay) == 0.02
    assert pytest.approx(playing.dot(b"", [quick, slow]).delay) == 0.32
    assert pytest.approx(playing.wait(visit())) == 0.001
    assert pytest.approx(playing.connect(visit(), 0.0).delay) == 0.001


def test_one_recipient_can_refuse_the_data_of_all() -> None:
    playing = policy({"domains": ["full.test"], "rules": [{"stage": "data", "code": 452, "enhanced": "4.3.1"}]})
    recipients = [rcpt(playing, b"u@" + d)[1] for d in (b"x.test", b"full.test")]
    assert playing.data(recipients).code == 452
    assert playing.data(recipients[:1]).code == 0


def test_a_drop_is_a_share_of_the_mails() -> None:
    playing = policy({"domains": ["x.test"], "drop_mid_data": 0.25, "drop_after_dot": 0.25})
    recipients = [rcpt(playing, b"u%d@x.test" % i)[1] for i in range(2000)]
    mid = {r.address for r in recipients if playing.mid_data([r]).cut}
    after = {r.address for r in recipients if playing.dot(b"<1>", [r]).cut}
    # Five standard deviations are 97; the two shares are drawn independently of each other.
    assert pytest.approx(len(mid), abs=97) == 500
    assert pytest.approx(len(after), abs=97) == 500
    assert pytest.approx(len(mid & after), abs=55) == 125


def test_421_always_closes() -> None:
    playing = policy({"domains": ["*"], "rules": [{"stage": "connect", "code": 421, "first_attempts": 1}]})
    assert playing.connect(visit(), 0.0).close
    assert Verdict() == playing.connect(visit(2), 0.0)


def test_only_recipients_of_personas_that_need_it_are_remembered() -> None:
    playing = policy({"domains": ["x.test"], "latency_ms": 1}, {"domains": ["y.test"], "drop_mid_data": 0.5})
    for i in range(10):
        rcpt(playing, b"u%d@x.test" % i)
        rcpt(playing, b"u%d@y.test" % i)
    assert len(playing.memory) == 10
