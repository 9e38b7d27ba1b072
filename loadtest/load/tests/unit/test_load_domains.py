"""The mix of domains: heavy-tailed, reserved names unless told otherwise, the same for the same seed."""

from collections import Counter

import pytest

from mailwarren.contracts.shards import SHARDS, shard_of
from mailwarren.load.domains import PROVIDERS, Domains

DRAWS = 40_000


def test_shares_add_up_and_fall_with_rank() -> None:
    mix = Domains()
    assert sum(mix.shares) == pytest.approx(1)
    tail = mix.shares[len(PROVIDERS) :]
    assert tail == sorted(tail, reverse=True)
    assert tail[0] == pytest.approx(10 * tail[9])
    assert len(set(mix.names)) == len(mix.names) == len(PROVIDERS) + 5_000


def test_what_is_drawn_has_the_shares() -> None:
    mix = Domains(1, real_names=True)
    drawn = Counter(mix.draw() for _ in range(DRAWS))
    for name, share in PROVIDERS.items():
        assert drawn[name] / DRAWS == pytest.approx(share, rel=0.15), name
    rare = [name for name, count in drawn.items() if count == 1]
    assert len(rare) > 500, "no tail"
    assert len(drawn) > 1_500


def test_every_shard_gets_mail() -> None:
    mix = Domains(1, real_names=True)
    assert {shard_of(mix.draw()) for _ in range(5_000)} == set(SHARDS)


def test_without_a_sink_no_address_exists() -> None:
    mix = Domains()
    assert all(name.endswith(".test") for name in mix.names)
    assert not any(name.endswith(".test") for name in PROVIDERS)


def test_the_same_seed_gives_the_same_people_and_another_gives_others() -> None:
    assert Domains(7).people(200) == Domains(7).people(200)
    assert Domains(7).people(200) != Domains(8).people(200)


def test_nobody_is_in_a_call_twice() -> None:
    people = Domains(3).people(10_000)
    assert len({one.address for one in people}) == len(people) == 10_000


def test_bulk_calls_are_small_mostly_and_as_large_as_may_be_sometimes() -> None:
    mix = Domains(5)
    sizes = sorted(mix.size(10_000) for _ in range(4_000))
    assert 50 <= sizes[0] <= sizes[2_000] < 150
    assert sizes[-1] == 10_000
