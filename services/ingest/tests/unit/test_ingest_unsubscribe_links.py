"""Links to unsubscribe: what was made here is read, and nothing else."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.testing import a_content
from mailwarren.contracts.unsubscribe import LISTS, Unsubscribe
from mailwarren.ingest.domain.email import Recipient, SendEmail
from mailwarren.ingest.domain.link_keys import split_keys
from mailwarren.ingest.domain.list_mail import Left, by_topic, check_link, goes_to_list
from mailwarren.ingest.domain.refusal import Refusal
from mailwarren.ingest.domain.unsubscribe_links import MAX_TOKEN, Claim, Links

KEY, OTHER_KEY = "the first secret of all", "another secret that is old"
URL = "https://mail.example.org"
TENANT, TOPIC, SOURCE = UUID(int=11), UUID(int=12), UUID(int=13)
links = Links(URL, [KEY])
addresses = st.emails().map(str)


def token_of(link: str) -> str:
    assert link.startswith(f"{URL}/u/")
    return link.removeprefix(f"{URL}/u/")


def a_token(address: str = "Ada@example.test", *, tenant: UUID = TENANT, topic: UUID | None = TOPIC) -> str:
    return token_of(links.of(tenant, topic, SOURCE).link(address))


def email(lane: Lane = Lane.BULK, topic: UUID | None = None, *to: str) -> SendEmail:
    found = tuple(Recipient(address, address) for address in to or ("ada@example.test",))
    return SendEmail(a_content(), "s.test", found, lane, topic=topic)


@given(st.uuids(), st.none() | st.uuids(), st.uuids(), addresses)
def test_what_was_made_here_is_read_here(tenant: UUID, topic: UUID | None, source: UUID, address: str) -> None:
    link = links.of(tenant, topic, source).link(address)
    assert links.read(token_of(link)) == Claim(tenant, topic or LISTS, source, address.lower())
    assert len(f"List-Unsubscribe: <{link}>") < 998


def test_an_address_is_one_however_it_is_written() -> None:
    first, second = a_token("Ada@example.test"), a_token("ADA@EXAMPLE.TEST")
    assert first != second
    assert links.read(first) == links.read(second) == Claim(TENANT, TOPIC, SOURCE, "ada@example.test")


@given(st.data())
def test_no_octet_can_be_changed(data: st.DataObject) -> None:
    token = a_token()
    octets = bytearray(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    place = data.draw(st.integers(0, len(octets) - 1))
    octets[place] ^= data.draw(st.integers(1, 255))
    assert links.read(urlsafe_b64encode(octets).rstrip(b"=").decode()) is None


@given(st.text(max_size=MAX_TOKEN + 5) | st.binary(max_size=200).map(lambda b: urlsafe_b64encode(b).decode()))
def test_what_was_not_made_here_is_nothing(token: str) -> None:
    assert links.read(token) is None


def test_the_mac_of_another_tenants_token_serves_for_no_other() -> None:
    """The key in a tenant's parcels signs that tenant's links, about that topic, and no others."""
    own = links.of(TENANT, TOPIC, SOURCE)
    for foreign in (links.of(UUID(int=99), TOPIC, SOURCE), links.of(TENANT, None, SOURCE)):
        forged = Unsubscribe(foreign.topic, foreign.base, foreign.head, own.key)
        assert links.read(token_of(forged.link("ada@example.test"))) is None
        assert links.read(token_of(foreign.link("ada@example.test"))) is not None


def test_an_older_key_is_taken_and_the_first_signs() -> None:
    old = token_of(Links(URL, [OTHER_KEY]).of(TENANT, TOPIC, SOURCE).link("ada@example.test"))
    both = Links(URL, [KEY, OTHER_KEY])
    assert links.read(old) is None
    assert both.read(old) == links.read(a_token())
    assert links.read(token_of(both.of(TENANT, TOPIC, SOURCE).link("ada@example.test"))) is not None
    # What is to be read needs no public URL.
    assert Links("", [OTHER_KEY]).read(old) is not None


@pytest.mark.parametrize("none", [Links(), Links(URL), Links("", [KEY])])
def test_without_an_address_or_a_key_there_are_no_links(none: Links) -> None:
    assert not none.made
    unsubscribe = none.of(TENANT, TOPIC, SOURCE)
    assert (unsubscribe.topic, unsubscribe.link("ada@example.test")) == (TOPIC, "")
    assert not unsubscribe.key


def test_keys_are_separated_and_none_is_short() -> None:
    assert split_keys(f" {KEY.replace(' ', '-')},\n{OTHER_KEY.replace(' ', '-')} ") == [
        KEY.replace(" ", "-"), OTHER_KEY.replace(" ", "-"),
    ]  # fmt: skip
    assert split_keys("") == []
    with pytest.raises(ValueError, match="16 characters"):
        split_keys(f"{'k' * 16} short")


@pytest.mark.parametrize(
    ("lane", "topic", "listed"),
    [(Lane.BULK, None, True), (Lane.NORMAL, None, False), (Lane.HIGH, None, False), (Lane.HIGH, TOPIC, True)],
)
def test_bulk_mail_and_mail_about_a_topic_go_to_lists(lane: Lane, topic: UUID | None, *, listed: bool) -> None:
    one = email(lane, topic)
    assert goes_to_list(one) is listed
    unsubscribe, _ = Left(links, TENANT, SOURCE).of(one)
    assert (unsubscribe is not None) is listed


def test_who_left_is_left_out_of_what_they_left_alone() -> None:
    left = Left(links, TENANT, SOURCE, {LISTS: frozenset({"all@x.test"}), TOPIC: frozenset({"some@x.test"})})
    assert left.of(email(Lane.BULK))[1] == {"all@x.test"}
    assert left.of(email(Lane.BULK, TOPIC))[1] == {"some@x.test"}
    assert left.of(email(Lane.HIGH))[1] == frozenset()
    asked = by_topic([email(Lane.BULK, None, "A@x.test"), email(Lane.NORMAL, TOPIC, "B@x.test"), email(Lane.HIGH)])
    assert asked == {LISTS: {"a@x.test"}, TOPIC: {"b@x.test"}}


def test_a_content_that_shows_its_link_needs_one() -> None:
    check_link(listed=True, made=True)
    with pytest.raises(Refusal, match="MAILWARREN_PUBLIC_URL"):
        check_link(listed=True, made=False)
    with pytest.raises(Refusal, match="topic_id"):
        check_link(listed=False, made=True)
