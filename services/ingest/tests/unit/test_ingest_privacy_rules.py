"""What a request about an address finds and replaces, and the archive of an export."""

import io
import re
import zipfile
from uuid import UUID

import pytest

from mailwarren.contracts.parcel import Content, Role
from mailwarren.ingest.domain.archive import Archive
from mailwarren.ingest.domain.email import Recipient
from mailwarren.ingest.domain.listing import InState, Tagged, ToAddress, asked_filter
from mailwarren.ingest.domain.privacy import ERASED, Whose, added, check_email, percent
from mailwarren.ingest.domain.refusal import Refusal
from mailwarren.ingest.domain.scheduled import Kept
from mailwarren.store.states import PrivacyKind, State

ADA = Whose(UUID(int=1), UUID(int=2), "ada@example.com")
STAND_IN = f"erased-{UUID(int=2).hex}@erased.invalid"


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("550 5.1.1 <ada@example.com>: no such user", f"550 5.1.1 <{STAND_IN}>: no such user"),
        ("Ada@EXAMPLE.com is full", f"{STAND_IN} is full"),
        ('{"to":"ada@example.com"}', f'{{"to":"{STAND_IN}"}}'),
        ("end: ada@example.com.", f"end: {STAND_IN}."),
        ("grada@example.com", None),
        ("x.ada@example.com", None),
        ("ada@example.com.vn", None),
        ("ada@example.community", None),
        ("adaXexample.com", None),
        ("ada@exampleXcom", None),
        ("nothing", None),
    ],
)
def test_an_address_is_replaced_as_a_word(text, without):
    assert ADA.within(text) == (without is not None)
    assert ADA.without(text) == (without or text)


def test_the_pattern_for_postgres_takes_no_character_for_another():
    assert re.fullmatch(
        r"\(\?<!\[\[:alnum:\](\\[uU]\w+(-\\[uU]\w+)?)+\._%\+-\]\)ada@example\\\.com\(\?!\[\[:alnum:\]-\]\|\\\.\[\[:alnum:\]\]\)",
        ADA.pattern,
    )
    assert r"a\+b\{x\}@y\-z\.test" in Whose(UUID(int=1), UUID(int=2), "a+b{x}@y-z.test").pattern
    # A backslash before a letter beyond ASCII would mean what the release of Postgres makes of it.
    assert "zoë用@y" in Whose(UUID(int=1), UUID(int=2), "zoë用@y").pattern


def scheduled(*recipients, **content):
    return Kept(Content("s@sender.test", **content), "sender.test", recipients)


def test_it_is_taken_out_of_mail_that_others_get_too():
    ada = Recipient("Ada@example.com", "Ada <Ada@example.com>")
    bob = Recipient("bob@example.com", "bob@example.com", Role.CC)
    mail = scheduled(ada, bob, to=("Ada <Ada@example.com>",), cc=("bob@example.com", "grada@example.com"))
    assert ADA.is_in(mail)
    rest = ADA.left_out(mail)
    assert rest is not None
    assert rest.recipients == (bob,)
    assert (rest.content.to, rest.content.cc) == ((), ("bob@example.com", "grada@example.com"))
    assert ADA.left_out(scheduled(ada)) is None
    assert not ADA.is_in(scheduled(bob))


def test_an_address_is_one_in_every_letter_case():
    assert check_email(" ADA@Example.COM ") == "ada@example.com"
    with pytest.raises(Refusal, match="email"):
        check_email("nobody")


def test_how_far_a_request_is():
    assert percent(PrivacyKind.ERASURE, 0) == 0
    assert percent(PrivacyKind.ERASURE, len(ERASED)) == 100
    assert added({"emails": 2}, "emails", 3) == {"emails": 5}
    assert added({}, "emails", 0) == {"emails": 0}


def test_an_archive_is_whole_when_its_pieces_are_put_together():
    archive = Archive()
    pieces = []
    for name, parts in (("index.json", [b"{}"]), ("emails.jsonl", [b"a\n" * 100_000, b"b\n"])):
        entry = archive.begin(name, (2026, 11, 22, 21, 0, 0))
        pieces += [entry.write(part) for part in parts]
        pieces.append(entry.close())
    pieces.append(archive.end())
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as found:
        assert found.testzip() is None
        assert found.namelist() == ["index.json", "emails.jsonl"]
        assert found.read("emails.jsonl") == b"a\n" * 100_000 + b"b\n"
    assert len(pieces[-1]) < 1000, "what went out is not kept"


@pytest.mark.parametrize(
    ("query", "chosen"),
    [
        ({}, None),
        ({"limit": "5"}, None),
        ({"broadcast_id": "x"}, None),
        ({"to": "Ada@Example.COM"}, ToAddress("ada@example.com")),
        ({"state": "bounced"}, InState(State.BOUNCED)),
        ({"tag": "category:welcome"}, Tagged("category", "welcome")),
        ({"tag": "a:b:c"}, Tagged("a", "b:c")),
    ],
)
def test_what_a_list_is_chosen_by(query, chosen):
    assert asked_filter(query) == chosen


@pytest.mark.parametrize(
    "query",
    [
        {"to": "nobody"},
        {"to": "a\0b@x.test"},
        {"state": "read"},
        {"state": ""},
        {"tag": "category"},
        {"tag": ":x"},
        {"tag": "x:"},
        {"tag": "a:\0"},
        {"tag": "n" * 257 + ":v"},
        {"to": "a@b.test", "state": "bounced"},
        {"tag": "a:b", "broadcast_id": "x"},
    ],
)
def test_what_cannot_be_chosen_by_is_refused(query):
    with pytest.raises(Refusal) as caught:
        asked_filter(query)
    assert caught.value.status == 422
