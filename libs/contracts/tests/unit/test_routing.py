"""Shards and routing keys: every domain has a queue, and the hashed ones share the load."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.routing import domain_of, ladder_key, partition_key, route
from mailwarren.contracts.shards import PROVIDERS, SHARDS, shard_of


@given(st.text(), st.sampled_from(Lane))
def test_every_domain_lands_in_a_known_shard(domain: str, lane: Lane) -> None:
    assert shard_of(domain) in SHARDS
    assert route(lane, domain) == f"{lane.value}.{shard_of(domain)}"


@given(st.text())
def test_the_same_domain_lands_in_the_same_shard(domain: str) -> None:
    assert shard_of(domain) == shard_of(domain)


@pytest.mark.parametrize("pattern", ["shop{}.example", "{}.de", "mail-{:04d}.example.org", "{:x}.test", "example.co{}"])
def test_four_thousand_domains_spread_evenly_over_the_hashed_shards(pattern: str) -> None:
    counts = Counter(shard_of(pattern.format(number)) for number in range(4000))
    assert set(counts) == {f"h{n}" for n in range(8)}
    assert min(counts.values()) > 500 * 0.85
    assert max(counts.values()) < 500 * 1.15


@pytest.mark.parametrize(
    ("domain", "shard"),
    [
        ("gmail.com", "google"),
        ("googlemail.com", "google"),
        ("hotmail.de", "microsoft"),
        ("outlook.com", "microsoft"),
        ("aol.com", "yahoo"),
        ("yahoo.co.in", "yahoo"),
        ("icloud.com", "apple"),
        ("me.com", "apple"),
    ],
)
def test_a_provider_has_a_shard_of_its_own(domain: str, shard: str) -> None:
    assert shard_of(domain) == shard


def test_a_name_that_only_ends_like_a_provider_is_hashed() -> None:
    for domain in ("notgmail.com", "gmail.com.example", "mail.gmail.com"):
        assert shard_of(domain) not in PROVIDERS


def test_the_hash_is_the_same_for_every_process_and_release() -> None:
    """``hash()`` would not be: these stand in queues."""
    assert [shard_of(f"domain{n}.test") for n in range(8)] == ["h1", "h4", "h2", "h7", "h7", "h2", "h4", "h1"]


@pytest.mark.parametrize(
    ("address", "domain"),
    [("bob@Example.ORG", "example.org"), ('"a@b"@example.org', "example.org"), ("postmaster", "postmaster")],
)
def test_the_domain_is_what_follows_the_last_at(address: str, domain: str) -> None:
    assert domain_of(address) == domain


def test_keys_are_built_from_values_and_not_from_names() -> None:
    assert ladder_key(Lane.BULK, "h3", "80s", 15) == "bulk.h3.80s.15"
    assert partition_key(0) == "0"
