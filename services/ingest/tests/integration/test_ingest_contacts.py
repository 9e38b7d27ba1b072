"""Contacts through the official SDK, sync and async: from making to erasing, and what is refused."""

import pytest
import resend
from resend.contacts._contact import Contact
from resend.exceptions import MissingRequiredFieldsError, ValidationError
from sdk_shapes import check, refused

from mailwarren.contracts.ids import new_id

pytestmark = pytest.mark.usefixtures("sdk")

Contacts = resend.Contacts


async def test_a_contact_from_making_to_erasing():
    made = Contacts.create({"email": "Ada@Example.test", "first_name": "Ada", "last_name": "Lovelace"})
    check(made, Contacts.CreateContactResponse)
    assert made["object"] == "contact"
    for contact in (
        Contacts.get(id=made["id"]),
        Contacts.get(email="ADA@example.TEST"),
        await Contacts.get_async(email="ada@example.test"),
    ):
        check(contact, Contact, ours={"object"})
        assert (contact["id"], contact["email"]) == (made["id"], "Ada@Example.test")
        assert (contact["first_name"], contact["last_name"], contact["unsubscribed"]) == ("Ada", "Lovelace", False)
        assert contact["properties"] == {}

    check(Contacts.update({"id": made["id"], "unsubscribed": True}), Contacts.UpdateContactResponse)
    check(
        await Contacts.update_async({"email": "ada@example.test", "first_name": None}), Contacts.UpdateContactResponse
    )
    contact = Contacts.get(id=made["id"])
    assert (contact["first_name"], contact["last_name"], contact["unsubscribed"]) == (None, "Lovelace", True)
    check(contact, Contact, ours={"object"})

    gone = await Contacts.remove_async(email="aDa@example.test")
    check(gone, Contacts.RemoveContactResponse)
    assert gone["id"] == gone["contact"] == made["id"]
    assert refused(Contacts.get, id=made["id"])[0] == 404
    assert refused(Contacts.remove, id=made["id"])[0] == 404


async def test_an_address_is_one_contact_in_whatever_letter_case():
    made = await Contacts.create_async({"email": "ada@example.test", "first_name": "Ada", "unsubscribed": True})
    again = Contacts.create({"email": " ADA@EXAMPLE.TEST ", "last_name": "Lovelace"})
    assert again["id"] == made["id"]
    contact = Contacts.get(id=made["id"])
    assert (contact["email"], contact["first_name"], contact["last_name"]) == ("ada@example.test", "Ada", "Lovelace")
    assert contact["unsubscribed"], "a call that does not say so does not subscribe anybody again"
    Contacts.create({"email": "ada@example.test", "unsubscribed": False})
    assert not Contacts.get(id=made["id"])["unsubscribed"]


def test_the_status_tells_making_from_bringing_up_to_date(client):
    assert client.post("/contacts", json={"email": "x@example.test"}).status_code == 201
    assert client.post("/contacts", json={"email": "X@example.test"}).status_code == 200


def test_an_address_with_a_name_of_many_scripts_and_one_with_a_slash():
    made = Contacts.create({"email": "bo@Müller.example", "first_name": "Бо"})
    assert Contacts.get(email="BO@xn--mller-kva.example")["id"] == made["id"]
    assert Contacts.get(id=made["id"])["email"] == "bo@Müller.example"
    made = Contacts.create({"email": "a/b+c@example.test"})
    assert Contacts.get(email="a/b+c@example.test")["id"] == made["id"]
    assert Contacts.Segments.list({"email": "a/b+c@example.test"})["data"] == []
    assert Contacts.remove(email="a/b+c@example.test")["deleted"]


async def test_pages_are_newest_first_and_stay_where_they_are():
    made = [Contacts.create({"email": f"p{n}@example.test"})["id"] for n in range(5)][::-1]
    whole = Contacts.list()
    check(whole, Contacts.ListResponse, ours={"data.object"})
    assert ([row["id"] for row in whole["data"]], whole["has_more"]) == (made, False)
    first = Contacts.list(params={"limit": 2})
    assert ([row["id"] for row in first["data"]], first["has_more"]) == (made[:2], True)
    Contacts.remove(id=made[1])
    Contacts.create({"email": "newer@example.test"})
    second = await Contacts.list_async(params={"limit": 2, "after": made[1]})
    assert ([row["id"] for row in second["data"]], second["has_more"]) == (made[2:4], True)
    back = Contacts.list(params={"limit": 1, "before": made[2]})
    assert ([row["id"] for row in back["data"]], back["has_more"]) == ([made[0]], True)
    assert refused(Contacts.list, params={"limit": 0}) == (422, "The `limit` parameter is a number from 1 to 100.")


def test_what_cannot_be_a_contact_is_refused_by_its_field():
    def says(words, params, kind=ValidationError):
        with pytest.raises(kind, match=words):
            Contacts.create(params)

    says("Missing `email` field", {}, MissingRequiredFieldsError)
    says("Invalid `email` field", {"email": "nobody"})
    says("Invalid `email` field", {"email": "Ada <ada@example.test>"})
    says("Invalid `email` field", {"email": "ada@example.test\r\nBcc: x@example.test"})
    says("Unknown `phone` field", {"email": "x@example.test", "phone": "1"})
    says("Invalid `first_name` field: it has 257 characters", {"email": "x@example.test", "first_name": "x" * 257})
    says("`last_name` field: a line break", {"email": "x@example.test", "last_name": "a\nb"})
    says("Invalid `unsubscribed` field", {"email": "x@example.test", "unsubscribed": "yes"})
    says("Unknown `properties.plan` field: declare", {"email": "x@example.test", "properties": {"plan": "x"}})
    says("`topics\\[0\\].subscription` field", {
        "email": "x@example.test", "topics": [{"id": str(new_id()), "subscription": "maybe"}],
    })  # fmt: skip
    says("`segments\\[0\\].id` field", {"email": "x@example.test", "segments": [{"id": "7"}]})
    assert Contacts.list()["data"] == []


def test_a_change_cannot_turn_a_contact_into_another(client):
    ada = Contacts.create({"email": "ada@example.test"})["id"]
    bob = Contacts.create({"email": "bob@example.test"})["id"]
    assert refused(Contacts.update, {"id": bob, "email": "ada@example.test", "first_name": "x"})[0] == 422
    answer = client.patch(f"/contacts/{ada}", json={"email": "bob@example.test"})
    assert (answer.status_code, "cannot be changed" in answer.json()["message"]) == (422, True)
    assert client.patch(f"/contacts/{ada}", json={"email": "ADA@example.test", "last_name": "x"}).status_code == 200
    assert refused(Contacts.update, {"id": ada, "nickname": "x"}) == (
        422, "Unknown `nickname` field: it has no meaning here. Remove it.",
    )  # fmt: skip
    assert refused(Contacts.update, {"id": ada, "first_name": "x" * 300})[0] == 422
    assert Contacts.get(id=ada)["first_name"] is None


def test_who_is_named_by_neither_an_id_nor_an_address():
    for name in ("7", "nobody@", "imports-of-mine"):
        assert refused(Contacts.get, id=name)[0] == 422
    assert refused(Contacts.get, id=str(new_id()))[0] == 404
    assert refused(Contacts.get, email="nobody@example.test")[0] == 404
    assert refused(Contacts.update, {"email": "nobody@example.test", "first_name": "x"})[0] == 404


async def test_another_tenants_contacts_do_not_exist(new_caller, caller):
    ident = Contacts.create({"email": "ada@example.test"})["id"]
    segment = resend.Segments.create({"name": "Mine"})["id"]
    topic = resend.Topics.create({"name": "News", "default_subscription": "opt_in"})["id"]
    resend.api_key = new_caller().token
    own = Contacts.create({"email": "ada@example.test"})["id"]
    assert own != ident
    assert [row["id"] for row in Contacts.list()["data"]] == [own]
    assert refused(Contacts.get, id=ident)[0] == 404
    assert refused(Contacts.update, {"id": ident, "first_name": "x"})[0] == 404
    assert refused(Contacts.remove, id=ident)[0] == 404
    assert refused(Contacts.list, segment_id=segment)[0] == 404
    assert refused(Contacts.list, audience_id=segment)[0] == 404
    assert refused(Contacts.create, {"email": "x@example.test", "segments": [{"id": segment}]})[0] == 404
    assert refused(Contacts.create, {"email": "x@example.test", "audience_id": segment})[0] == 404
    choice = [{"id": topic, "subscription": "opt_out"}]
    assert refused(Contacts.create, {"email": "x@example.test", "topics": choice})[0] == 404
    assert refused(Contacts.Topics.update, {"id": own, "topics": choice})[0] == 404
    assert refused(Contacts.Segments.add, {"segment_id": segment, "contact_id": own})[0] == 404
    assert refused(Contacts.Segments.remove, {"segment_id": segment, "contact_id": own})[0] == 404
    assert refused(Contacts.Segments.list, {"contact_id": ident})[0] == 404
    assert refused(Contacts.Topics.list, contact_id=ident)[0] == 404
    assert refused(resend.Segments.get, segment)[0] == 404
    assert refused(resend.Segments.update, segment, {"name": "x"})[0] == 404
    assert refused(resend.Segments.remove, segment)[0] == 404
    assert refused(resend.Topics.get, topic)[0] == 404
    assert refused(resend.Topics.update, topic, {"name": "x"})[0] == 404
    assert refused(resend.Topics.remove, topic)[0] == 404
    assert (len(Contacts.list()["data"]), resend.Segments.list()["data"], resend.Topics.list()["data"]) == (1, [], [])
    resend.api_key = caller.token
    assert Contacts.get(id=ident)["first_name"] is None


def test_a_sending_key_does_not_read_contacts(new_caller, caller):
    resend.api_key = new_caller("sending_access", tenant=caller.tenant).token
    for call in (Contacts.list, resend.Segments.list, resend.Topics.list, resend.ContactProperties.list):
        assert refused(call)[0] == 401


def test_erasing_leaves_nothing_behind_but_what_the_address_left(place, caller):
    segment = resend.Segments.create({"name": "All"})["id"]
    topic = resend.Topics.create({"name": "News", "default_subscription": "opt_in"})["id"]
    choices = [{"id": topic, "subscription": "opt_out"}]
    made = Contacts.create({"email": "ada@example.test", "segments": [{"id": segment}], "topics": choices})
    Contacts.create({"email": "stays@example.test", "segments": [{"id": segment}]})
    Contacts.remove(id=made["id"])
    for table in ("contact_segments", "contact_topics"):
        assert place.sql(f"SELECT FROM {table} WHERE tenant = $1 AND contact = $2", caller.tenant, made["id"]) == []
    assert [row["email"] for row in Contacts.list(segment_id=segment)["data"]] == ["stays@example.test"]
    again = Contacts.create({"email": "ada@example.test"})
    assert again["id"] != made["id"]
    assert Contacts.Segments.list({"contact_id": again["id"]})["data"] == []
    # What its address has left stays left: docs/adr/0035.
    assert Contacts.Topics.list(contact_id=again["id"])["data"][0]["subscription"] == "opt_out"
