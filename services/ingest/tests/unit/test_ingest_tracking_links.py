"""Tokens of pixels and tracked links: what was made here is read, for its use and nothing else."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.contracts.tracking import CLICK, LONGEST_LINK, OPEN, Tracking
from mailwarren.ingest.domain.tracking_links import MAX_TOKEN, TrackingLinks, Visit, asked, own_host
from mailwarren.ingest.domain.unsubscribe_links import Links

KEY, OTHER_KEY = "the first secret of all", "another secret that is old"
URL = "https://mail.example.org"
TENANT, EMAIL, DELIVERY = UUID(int=11), UUID(int=12), UUID(int=13)
links = TrackingLinks(URL, [KEY])


def token_of(address: str, use: str = "c", base: str = URL) -> str:
    start = f"{base}/t/{use}/"
    assert address.startswith(start)
    return address.removeprefix(start)


def a_token(url: str = "https://x.test/", made: TrackingLinks = links) -> str:
    return token_of(made.of(TENANT, 3, 1_764_000_000.7, None).link(EMAIL, DELIVERY, url))


@given(
    st.uuids(), st.uuids(), st.uuids(), st.integers(0, 15), st.integers(0, 2**32 - 1), st.text(min_size=1, max_size=99)
)
def test_what_was_made_here_is_read_here(tenant, email, delivery, partition, at, url):
    tracking = links.of(tenant, partition, at, None)
    click, pixel = tracking.link(email, delivery, url), tracking.pixel(email, delivery)
    visit = Visit(tenant, email, delivery, partition, float(at), url)
    assert links.read(token_of(click), CLICK) == visit
    assert links.read(token_of(pixel, "o"), OPEN) == Visit(tenant, email, delivery, partition, float(at))


@given(st.data())
def test_no_octet_can_be_changed(data):
    token = a_token()
    octets = bytearray(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    place = data.draw(st.integers(0, len(octets) - 1))
    octets[place] ^= data.draw(st.integers(1, 255))
    assert links.read(urlsafe_b64encode(octets).rstrip(b"=").decode(), CLICK) is None


@given(st.text(max_size=300) | st.text("abcdefgh-_", max_size=300))
def test_no_other_text_is_a_token(text):
    assert links.read(text, CLICK) is None
    assert links.read(text, OPEN) is None


def test_a_token_is_for_one_use():
    tracking = links.of(TENANT, 3, 1.0, None)
    assert links.read(a_token(), OPEN) is None
    assert links.read(token_of(tracking.pixel(EMAIL, DELIVERY), "o"), CLICK) is None


def test_what_signs_other_links_signs_none_of_these():
    unsubscribe = Links(URL, [KEY]).of(TENANT, None, EMAIL).link("a@x.test").rpartition("/")[2]
    assert links.read(unsubscribe, CLICK) is None
    assert Links(URL, [KEY]).read(a_token()) is None


def test_a_parcel_signs_for_its_own_tenant_and_time_alone():
    mine = links.of(TENANT, 3, 100.0, None)
    for other in (
        links.of(UUID(int=99), 3, 100.0, None),
        links.of(TENANT, 4, 100.0, None),
        links.of(TENANT, 3, 101.0, None),
    ):
        forged = Tracking(True, True, mine.base, other.head, mine.key)
        assert links.read(token_of(forged.link(EMAIL, DELIVERY, "https://evil.test")), CLICK) is None
    assert KEY.encode() not in mine.key


def test_an_older_key_is_taken_as_long_as_it_is_there():
    old = TrackingLinks(URL, [OTHER_KEY])
    both = TrackingLinks(URL, [KEY, OTHER_KEY])
    assert both.read(a_token(made=old), CLICK) is not None
    assert links.read(a_token(made=old), CLICK) is None
    assert a_token(made=both) == a_token()


def test_links_lead_over_a_domains_own_host_in_the_systems_scheme():
    assert links.of(TENANT, 0, 1.0, "links.sender.test").base == "https://links.sender.test"
    plain = TrackingLinks("http://127.0.0.1:8080", [KEY])
    assert plain.of(TENANT, 0, 1.0, "links.sender.test").base == "http://links.sender.test"
    assert plain.of(TENANT, 0, 1.0, None).base == "http://127.0.0.1:8080"


def test_nothing_is_made_without_a_key_or_an_address():
    for one in (TrackingLinks(), TrackingLinks(URL), TrackingLinks("", [KEY])):
        assert (one.made, one.of(TENANT, 0, 1.0, None)) == (False, Tracking())
    assert TrackingLinks("", [KEY]).read(a_token(), CLICK) is not None


def test_the_longest_link_has_a_token_that_is_read():
    url = f"https://x.test/{'p' * LONGEST_LINK}"[:LONGEST_LINK]
    assert len(a_token(url)) <= MAX_TOKEN
    found = links.read(a_token(url), CLICK)
    assert found is not None
    assert found.link == url


def test_what_a_call_says_stands_in_its_content_until_it_is_accepted():
    assert asked(None, None) is None
    assert asked(True, None) == Tracking(True, None)
    assert asked(None, False) == Tracking(None, False)


@pytest.mark.parametrize(
    ("url", "setting", "host"),
    [
        ("https://Mail.example.org/", "", "mail.example.org"),
        ("https://mail.example.org:8443", "links.example.org", "links.example.org"),
        ("http://127.0.0.1:8080", "", ""),
        ("http://[2001:db8::1]", "", ""),
        ("http://localhost:8080", "", ""),
        ("", "", ""),
    ],
)
def test_hosts_of_domains_are_aliases_of_a_name(url, setting, host):
    assert own_host(url, setting) == host
