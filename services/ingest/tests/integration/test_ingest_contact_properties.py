"""Contact properties through the official SDK: declared with a type, and held to it."""

import pytest
import resend
from resend.contact_properties._contact_property import ContactProperty
from resend.contacts._contact import Contact
from sdk_shapes import check, refused

from mailwarren.contracts.ids import new_id

pytestmark = pytest.mark.usefixtures("sdk")

Contacts, Properties = resend.Contacts, resend.ContactProperties


async def test_a_property_from_declaring_to_deletion():
    made = Properties.create({"key": "company", "type": "string", "fallback_value": "your company"})
    check(made, Properties.CreateResponse)
    seats = await Properties.create_async({"key": "seats", "type": "number"})
    for item, fallback in ((Properties.get(made["id"]), "your company"), (Properties.get(seats["id"]), None)):
        check(item, ContactProperty)
        assert item["fallback_value"] == fallback
    check(await Properties.get_async(seats["id"]), ContactProperty)
    check(Properties.list(), Properties.ListResponse)
    page = await Properties.list_async({"limit": 1})
    assert ([row["key"] for row in page["data"]], page["has_more"]) == (["seats"], True)
    check(Properties.update({"id": seats["id"], "fallback_value": 0.5}), Properties.UpdateResponse)
    check(await Properties.update_async({"id": made["id"], "fallback_value": None}), Properties.UpdateResponse)
    assert [row["fallback_value"] for row in Properties.list()["data"]] == [0.5, None]
    check(Properties.remove(made["id"]), Properties.RemoveResponse)
    check(await Properties.remove_async(seats["id"]), Properties.RemoveResponse)
    assert refused(Properties.get, made["id"])[0] == refused(Properties.remove, made["id"])[0] == 404


async def test_values_have_the_type_of_their_property(client):
    for key, kind in (("company", "string"), ("seats", "number"), ("vip", "boolean")):
        Properties.create({"key": key, "type": kind})
    given = {"company": "Acme", "seats": 3, "vip": False}
    ada = Contacts.create({"email": "ada@example.test", "properties": given})["id"]
    contact = await Contacts.get_async(id=ada)
    check(contact, Contact, ours={"object"})
    assert contact["properties"] == {
        "company": {"value": "Acme", "type": "string"},
        "seats": {"value": 3, "type": "number"},
        "vip": {"value": False, "type": "boolean"},
    }
    check(Contacts.list(), Contacts.ListResponse, ours={"data.object"})
    Contacts.update({"id": ada, "properties": {"seats": 2.5, "vip": None}})
    kept = {key: item["value"] for key, item in Contacts.get(id=ada)["properties"].items()}
    assert kept == {"company": "Acme", "seats": 2.5}
    Contacts.create({"email": "ada@example.test", "properties": {"vip": True, "company": None}})
    kept = {key: item["value"] for key, item in Contacts.get(id=ada)["properties"].items()}
    assert kept == {"company": "Acme", "seats": 2.5, "vip": True}, "what making again leaves out, stays"
    for bad in (
        {"company": 3}, {"company": "x" * 501}, {"company": "a\x00"}, {"company": ["x"]}, {"seats": "3"},
        {"seats": True}, {"seats": 2**60}, {"vip": 1}, {"vip": "true"}, {"other": 1},
    ):  # fmt: skip
        key = next(iter(bad))
        code, message = refused(Contacts.update, {"id": ada, "properties": bad})
        assert (code, f"`properties.{key}`" in message) == (422, True), message
    body = f'{{"properties": {{"seats": {"9" * 400}}}}}'.encode()
    assert client.patch(f"/contacts/{ada}", content=body).status_code == 422
    assert Contacts.get(id=ada)["properties"]["seats"]["value"] == 2.5


def test_what_cannot_be_a_property_is_refused_by_its_field(client):
    for body, words in (
        ({"type": "string"}, "Missing `key` field"),
        ({"key": "x"}, "Missing `type` field"),
        ({"key": "x", "type": "date"}, "Invalid `type` field"),
        ({"key": "a b", "type": "string"}, "Invalid `key` field"),
        ({"key": "1st", "type": "string"}, "Invalid `key` field"),
        ({"key": "x" * 51, "type": "string"}, "Invalid `key` field"),
        ({"key": "Email", "type": "string"}, "Invalid `key` field: `Email` is the name of something"),
        ({"key": "x", "type": "string", "fallback_value": 1}, "Invalid `fallback_value` field: a text is wanted"),
        ({"key": "x", "type": "number", "fallback_value": "1"}, "Invalid `fallback_value` field: a number is wanted"),
        ({"key": "x", "type": "boolean", "fallback_value": 0}, "Invalid `fallback_value` field: true or false"),
        ({"key": "x", "type": "string", "label": "X"}, "Unknown `label` field"),
    ):
        code, message = refused(Properties.create, body)
        assert (code, message.startswith(words)) == (422, True), message
    ident = Properties.create({"key": "x", "type": "string"})["id"]
    assert "already" in refused(Properties.create, {"key": "x", "type": "number"})[1]
    assert refused(Properties.update, {"id": ident, "fallback_value": 1})[0] == 422
    assert refused(Properties.update, {"id": str(new_id()), "fallback_value": "x"})[0] == 404
    assert client.patch(f"/contact-properties/{ident}", json={"type": "number"}).status_code == 422


def test_a_property_declared_anew_does_not_inherit_values():
    first = Properties.create({"key": "plan", "type": "string"})["id"]
    ada = Contacts.create({"email": "ada@example.test", "properties": {"plan": "gold"}})["id"]
    Properties.remove(first)
    assert Contacts.get(id=ada)["properties"] == {}
    assert refused(Contacts.update, {"id": ada, "properties": {"plan": "x"}})[0] == 422
    Properties.create({"key": "plan", "type": "number"})
    assert Contacts.get(id=ada)["properties"] == {}
    Contacts.update({"id": ada, "properties": {"plan": 7}})
    assert Contacts.get(id=ada)["properties"] == {"plan": {"value": 7, "type": "number"}}


def test_another_tenants_properties_do_not_exist(new_caller):
    ident = Properties.create({"key": "plan", "type": "string"})["id"]
    resend.api_key = new_caller().token
    assert Properties.list()["data"] == []
    assert refused(Properties.get, ident)[0] == refused(Properties.remove, ident)[0] == 404
    assert refused(Properties.update, {"id": ident, "fallback_value": "x"})[0] == 404
    assert refused(Contacts.create, {"email": "x@example.test", "properties": {"plan": "x"}})[0] == 422
    assert Properties.create({"key": "plan", "type": "number"})["id"] != ident


def test_there_is_an_end_to_properties(place, caller):
    place.sql(
        "INSERT INTO contact_properties (tenant, id, key, type, created_at, updated_at) "
        "SELECT $1, gen_random_uuid(), 'k' || n, 'string', now(), now() FROM generate_series(1, 100) AS n",
        caller.tenant,
    )  # fmt: skip
    assert refused(Properties.create, {"key": "one_more", "type": "string"}) == (
        422, "There are 100 contact properties; more are not possible. Delete one first.",
    )  # fmt: skip
