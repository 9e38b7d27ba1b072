"""Addresses beyond ASCII wherever the API reads one, through the official SDK where it has the call."""

import csv
import io
import unicodedata
from uuid import UUID

import pytest
import resend
from expanding import expand
from import_runs import Workers

from mailwarren.contracts.address_key import address_key
from mailwarren.contracts.ids import delivery_id
from mailwarren.contracts.unsubscribe import LISTS
from mailwarren.ingest.domain.privacy import Whose

pytestmark = pytest.mark.usefixtures("sdk")

ZOE = "Zoë@bücher.example"
DECOMPOSED = unicodedata.normalize("NFD", ZOE)
KEY = "zoë@xn--bcher-kva.example"
SENT = "Zoë@xn--bcher-kva.example"
OTHER_CASE = "ZOË@bücher.example"
LONG = "é" * 33 + "@example.test"
STRANGE = [
    ZOE, "用户@例子.广告", "J\u030c@x.test", "İI@x.test", "ΛΔΣ@x.test", "ΛΔΣx@x.test", "ẞ@x.test", "ǅ@x.test",
    "ﬁ@x.test", "Ꙃ@x.test", "𐐀A@x.test", "दादा@x.test", "'%_\\@x.test",
]  # fmt: skip


@pytest.fixture
def workers(place):
    return Workers(place)


def recipients(queues):
    return [one for parcel in queues.parcels() for one in parcel.deliveries]


def test_mail_goes_to_the_composed_address_and_each_is_one_delivery(mail, queues, client):
    sent = resend.Emails.send(
        mail | {"from": f"Zoë <{ZOE}>", "to": [f"Zoë <{DECOMPOSED}>", ZOE, OTHER_CASE], "reply_to": DECOMPOSED}
    )["id"]
    (parcel,) = queues.parcels()
    assert [one.to for one in parcel.deliveries] == [SENT, "ZOË@xn--bcher-kva.example"]
    assert parcel.deliveries[0].id == delivery_id(sent, KEY)
    assert (parcel.content.sender, parcel.content.reply_to) == (f"Zoë <{SENT}>", (SENT,))
    resend.Batch.send([mail | {"to": "用户@x.test"}, mail | {"to": ZOE, "cc": "अजय@x.test"}])
    assert {one.to for one in recipients(queues)} == {"用户@x.test", SENT, "अजय@x.test"}
    body = {key: mail[key] for key in ("from", "subject", "text") if key in mail}
    rows = [{"to": DECOMPOSED}, {"to": LONG}, {"to": "z\u202eë@x.test"}]
    made = client.post("/emails/bulk", json=body | {"text": "Hi", "recipients": rows}).json()
    assert [one["to"] for one in made["data"]] == [SENT]
    assert [one["index"] for one in made["errors"]] == [1, 2]
    assert "66 octets of UTF-8 before the @" in made["errors"][0]["message"]


def test_a_contact_is_one_in_both_forms_and_gets_its_broadcast(place, client, queues):
    segment = resend.Segments.create({"name": "readers"})["id"]
    made = resend.Contacts.create({"email": DECOMPOSED, "first_name": "Zoë", "segments": [{"id": segment}]})["id"]
    assert resend.Contacts.create({"email": "zOë@BÜCHER.example", "last_name": "Ü"})["id"] == made
    other = resend.Contacts.create({"email": OTHER_CASE})["id"]
    assert other != made, "letters beyond ASCII keep their case"
    for name in (ZOE, DECOMPOSED, KEY):
        found = resend.Contacts.get(email=name)
        assert (found["id"], found["email"], found["last_name"]) == (made, ZOE, "Ü")
    body = {"segment_id": segment, "from": "a@sender.test", "subject": "s", "text": "{{{FIRST_NAME|you}}}"}
    broadcast = resend.Broadcasts.create(body | {"send": True})["id"]
    expand(place, broadcast)
    (one,) = recipients(queues)
    assert (one.to, one.mailbox, one.suppressed) == (SENT, SENT, False)

    assert resend.Contacts.update({"email": ZOE, "unsubscribed": True})["id"] == made
    (gone,) = place.sql("SELECT address, topic FROM unsubscribes WHERE address = $1", KEY)
    assert gone["topic"] == LISTS
    assert resend.Contacts.remove(email=DECOMPOSED)["deleted"]
    assert resend.Contacts.get(email=OTHER_CASE)["id"] == other


def test_a_file_of_contacts_brings_them_in(client, workers):
    file = f"email,first_name\n{DECOMPOSED},Zoë\n{ZOE},Zoe\n用户@例子.广告,\n{LONG},x\nz\u200dë@x.test,x\n"
    made = client.post("/contacts/imports", content=file.encode(), headers={"content-type": "text/csv"}).json()["id"]
    workers.settle()
    assert len(resend.Contacts.list()["data"]) == 2
    assert resend.Contacts.get(email=ZOE)["email"] == ZOE
    assert resend.Contacts.get(email="用户@xn--fsqu00a.xn--4rr70v")["email"] == "用户@例子.广告"
    report = client.get(f"/contacts/imports/{made}/errors").text
    assert "66 octets of UTF-8" in report
    assert "ZERO WIDTH JOINER" in report


def test_the_suppression_list_knows_them_by_their_keys(client, mail, queues):
    made = resend.Suppressions.add({"email": DECOMPOSED})["id"]
    assert resend.Suppressions.add({"email": SENT})["id"] == made
    for name in (ZOE, KEY, DECOMPOSED):
        assert resend.Suppressions.get(name)["email"] == KEY
    resend.Suppressions.Batch.add({"emails": ["用户@x.test", "=ñ@x.test"]})
    resend.Emails.send(mail | {"to": [ZOE, OTHER_CASE, "用户@x.test"]})
    assert {one.to: one.suppressed for one in recipients(queues)} == {
        SENT: True, "ZOË@xn--bcher-kva.example": False, "用户@x.test": True,
    }  # fmt: skip

    exported = client.get("/suppressions/csv").content
    rows = list(csv.DictReader(io.StringIO(exported.decode("utf-8-sig"), newline="")))
    assert [row["email"].lstrip("'") for row in rows] == ["=ñ@x.test", "用户@x.test", KEY]
    assert resend.Suppressions.remove(ZOE)["deleted"]
    resend.Suppressions.Batch.remove({"emails": ["用户@x.test", "=ñ@x.test"]})
    assert client.get("/suppressions").json()["data"] == []
    client.post("/suppressions/csv", content=exported, headers={"content-type": "text/csv"}).raise_for_status()
    assert {one["email"] for one in client.get("/suppressions").json()["data"]} == {KEY, "用户@x.test", "=ñ@x.test"}


def test_every_database_finds_the_deliveries_of_a_key(place):
    """Deliveries are looked for by their database's ``lower()`` in an index, and then by what a key is."""
    wanted = ["default", "C", "ucs_basic", "und-x-icu", "lt-x-icu", "tr-x-icu"]
    there = {row["collname"] for row in place.sql("SELECT collname FROM pg_collation WHERE collname = ANY($1)", wanted)}
    assert there >= {"default", "C", "ucs_basic"}
    addresses = [*STRANGE, *(one.upper() for one in STRANGE), *(one.lower() for one in STRANGE)]
    keys = [address_key(one) for one in addresses]
    rows = place.sql(
        'SELECT lower(a COLLATE "C") AS key FROM unnest($1::text[]) WITH ORDINALITY AS t (a, n) ORDER BY n', addresses
    )
    assert [row["key"] for row in rows] == keys
    # In Turkish, I is no capital of i: such a database does not find BILL by bill, whatever an address is.
    for collation in sorted(there - {"tr-x-icu"}):
        missed = place.sql(
            "SELECT a FROM unnest($1::text[], $2::text[]) AS t (a, k) "
            f'WHERE lower(a COLLATE "{collation}") <> lower(k COLLATE "{collation}")',
            addresses, keys,
        )  # fmt: skip
        assert missed == [], collation


def test_every_database_finds_an_address_in_a_text_as_a_word(place):
    whose = Whose(UUID(int=1), UUID(int=2), KEY)
    for collation in ("default", "C"):
        for before, after, found in (
            ("<", ">", True), ("„", "“", True), ("\u3000", "、", True), ("an: ", ".", True), ("\uff08", "\uff09", True),
            ("ž", "", False), ("用户", "", False), ("की", "", False), ("𐐀", "", False), ("x", "", False),
            ("", ".vn", False), ("", "x", False),
        ):  # fmt: skip
            text = f"{before}{SENT}{after}"
            (row,) = place.sql(f'SELECT $1 COLLATE "{collation}" ~* $2 AS found', text, whose.pattern)
            assert (row["found"], whose.within(text)) == (found, found), (collation, text)
