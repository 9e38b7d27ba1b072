"""What connections come from, as far as it is decided without one."""

import pytest

from mailwarren.sender.smtp import Host, Site, Source

FOUR, SIX, NAME = Host("mx.test", 25, "192.0.2.1"), Host("mx.test", 25, "2001:db8::1"), Host("relay.test", 587)


@pytest.mark.parametrize(
    ("source", "addresses"),
    [
        (Source("a", "a.test"), (None, None, None)),
        (Source("a", "a.test", "192.0.2.7"), ("192.0.2.7", None, "192.0.2.7")),
        (Source("a", "a.test", None, "2001:db8::7"), (None, "2001:db8::7", "2001:db8::7")),
        (Source("a", "a.test", "192.0.2.7", "2001:db8::7"), ("192.0.2.7", "2001:db8::7", "192.0.2.7")),
    ],
)
def test_a_connection_comes_from_the_address_of_its_family(source: Source, addresses: tuple[str | None, ...]) -> None:
    assert tuple(source.address_to(host) for host in (FOUR, SIX, NAME)) == addresses
    free = not source.fixed
    assert tuple(source.reaches(host) for host in (FOUR, SIX, NAME)) == (
        free or addresses[0] is not None,
        free or addresses[1] is not None,
        True,
    )


@pytest.mark.parametrize("helo", ["", "a b", "a\r\nQUIT", "grüße.test", "a\tb"])
def test_a_name_that_could_not_be_said_is_refused(helo: str) -> None:
    with pytest.raises(ValueError, match="helo_name"):
        Source("a", helo)


@pytest.mark.parametrize("addresses", [("2001:db8::1", None), (None, "192.0.2.1"), ("x", None)])
def test_an_address_of_the_other_family_is_refused(addresses: tuple[str | None, str | None]) -> None:
    with pytest.raises(ValueError, match=addresses[0] or addresses[1]):
        Source("a", "a.test", *addresses)


def test_connections_of_two_sources_are_never_shared() -> None:
    sites = [
        Site("x", (FOUR,), source=source)
        for source in (
            None,
            Source("a", "a.test"),
            Source("a", "b.test"),
            Source("b", "a.test"),
            Source("a", "a.test", "192.0.2.7"),
            Source("a", "a.test", None, "2001:db8::7"),
        )
    ]
    assert len({site.route for site in sites}) == len(sites)
    assert Site("x", (FOUR,), source=Source("a", "a.test")).route == sites[1].route
