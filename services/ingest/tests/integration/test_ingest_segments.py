"""Segments, who is in them, and the older audiences paths, through the official SDK."""

import pytest
import resend
from resend.contacts._contact import Contact
from resend.segments._segment import Segment
from sdk_shapes import check, refused

from mailwarren.contracts.ids import new_id

pytestmark = pytest.mark.usefixtures("sdk")

Contacts, Segments, Members = resend.Contacts, resend.Segments, resend.Contacts.Segments


async def test_a_segment_from_making_to_deletion():
    made = Segments.create({"name": " Customers "})
    check(made, Segments.CreateSegmentResponse)
    assert (made["object"], made["name"]) == ("segment", "Customers")
    newer = await Segments.create_async({"name": "Customers"})
    check(Segments.get(made["id"]), Segment, ours={"object"})
    check(await Segments.get_async(made["id"]), Segment, ours={"object"})
    check(Segments.list(), Segments.ListResponse)
    page = await Segments.list_async({"limit": 1})
    assert ([row["id"] for row in page["data"]], page["has_more"]) == ([newer["id"]], True)
    assert [row["id"] for row in Segments.list({"after": newer["id"]})["data"]] == [made["id"]]
    check(Segments.update(made["id"], {"name": "Clients"}), Segments.UpdateSegmentResponse)
    check(await Segments.update_async(newer["id"], {"name": "Others"}), Segments.UpdateSegmentResponse)
    assert [row["name"] for row in Segments.list()["data"]] == ["Others", "Clients"]
    check(Segments.remove(made["id"]), Segments.RemoveSegmentResponse)
    check(await Segments.remove_async(newer["id"]), Segments.RemoveSegmentResponse)
    assert refused(Segments.get, made["id"])[0] == refused(Segments.remove, made["id"])[0] == 404
    assert Segments.list()["data"] == []


def test_names_are_bounded():
    assert refused(Segments.create, {}) == (422, "Missing `name` field.")
    assert refused(Segments.create, {"name": "  "})[0] == 422
    assert refused(Segments.create, {"name": "x" * 101})[0] == 422
    assert refused(Segments.create, {"name": "a\x00b"})[0] == 422
    assert refused(Segments.create, {"name": "x", "filter": {}})[1].startswith("Unknown `filter` field")
    assert refused(Segments.update, str(new_id()), {"name": "x"})[0] == 404
    assert refused(Segments.get, "7")[0] == 422


async def test_contacts_are_put_into_segments_and_taken_out():
    one, two = (Segments.create({"name": name})["id"] for name in ("One", "Two"))
    ada = Contacts.create({"email": "ada@example.test", "segments": [{"id": one}]})["id"]
    added = Members.add({"segment_id": two, "email": "ADA@example.test"})
    check(added, Members.AddContactSegmentResponse)
    check(await Members.add_async({"segment_id": two, "contact_id": ada}), Members.AddContactSegmentResponse)
    listed = Members.list({"contact_id": ada})
    check(listed, Members.ListContactSegmentsResponse)
    assert [row["id"] for row in listed["data"]] == [two, one]
    page = await Members.list_async({"email": "ada@example.test"}, {"limit": 1, "after": two})
    assert ([row["name"] for row in page["data"]], page["has_more"]) == (["One"], False)
    for segment in (one, two):
        check(Contacts.list(segment_id=segment), Contacts.ListResponse, ours={"data.object"})
    check(await Members.remove_async({"segment_id": one, "contact_id": ada}), Members.RemoveContactSegmentResponse)
    assert Contacts.list(segment_id=one)["data"] == []
    assert refused(Members.remove, {"segment_id": one, "contact_id": ada})[0] == 404
    check(Members.remove({"segment_id": two, "email": "ada@example.test"}), Members.RemoveContactSegmentResponse)
    assert Contacts.get(id=ada)["id"] == ada


def test_a_body_repeats_the_path_or_is_left_out(client):
    segment = Segments.create({"name": "One"})["id"]
    ada = Contacts.create({"email": "ada@example.test"})["id"]
    path = f"/contacts/{ada}/segments/{segment}"
    assert client.post(path).status_code == 200
    for body in ({"segment_id": str(new_id())}, {"contact_id": str(new_id())}, {"email": "x@example.test"}, {"x": 1}):
        assert client.post(path, json=body).status_code == 422
    assert client.post(f"/contacts/{ada}/segments/{new_id()}").status_code == 404
    assert client.post(f"/contacts/{new_id()}/segments/{segment}").status_code == 404


async def test_a_list_is_filtered_by_segment_in_either_way(client):
    segment = Segments.create({"name": "One"})["id"]
    members = [
        Contacts.create({"email": f"p{n}@example.test", "segments": [{"id": segment}] if n % 2 else []})["id"]
        for n in range(6)
    ][1::2][::-1]
    assert [row["id"] for row in Contacts.list(segment_id=segment)["data"]] == members
    page = await Contacts.list_async(segment_id=segment, params={"limit": 2})
    assert ([row["id"] for row in page["data"]], page["has_more"]) == (members[:2], True)
    page = Contacts.list(segment_id=segment, params={"limit": 2, "before": members[2]})
    assert ([row["id"] for row in page["data"]], page["has_more"]) == (members[:2], False)
    answer = client.get("/contacts", params={"segment_id": segment, "limit": 1, "after": members[1]})
    assert [row["id"] for row in answer.json()["data"]] == [members[2]]
    assert client.get("/contacts", params={"segment_id": str(new_id())}).status_code == 404
    assert client.get("/contacts", params={"segment": segment}).status_code == 422


def test_a_deleted_segment_takes_nobody_with_it():
    segment = Segments.create({"name": "One"})["id"]
    ada = Contacts.create({"email": "ada@example.test", "segments": [{"id": segment}]})["id"]
    Segments.remove(segment)
    assert Contacts.get(id=ada)["id"] == ada
    assert Members.list({"contact_id": ada})["data"] == []
    assert refused(Contacts.list, segment_id=segment)[0] == 404
    assert refused(Members.add, {"segment_id": segment, "contact_id": ada})[0] == 404
    assert refused(Contacts.create, {"email": "bob@example.test", "segments": [{"id": segment}]})[0] == 404


@pytest.mark.filterwarnings("ignore:Audiences is deprecated:DeprecationWarning")
async def test_the_sdks_audiences_are_segments():
    made = resend.Audiences.create({"name": "Readers"})
    check(made, resend.Audiences.CreateAudienceResponse)
    check(resend.Audiences.list(), resend.Audiences.ListResponse)
    check(await resend.Audiences.get_async(made["id"]), resend.Audience, ours={"object"})
    check(await resend.Audiences.remove_async(made["id"]), resend.Audiences.RemoveAudienceResponse)


async def test_contacts_on_the_older_paths_are_the_same_contacts():
    audience = Segments.create({"name": "Readers"})["id"]
    outside = Contacts.create({"email": "out@example.test"})["id"]
    made = Contacts.create({"audience_id": audience, "email": "ada@example.test", "first_name": "Ada"})
    check(made, Contacts.CreateContactResponse)
    bob = await Contacts.create_async({"audience_id": audience, "email": "bob@example.test"})
    listed = Contacts.list(audience_id=audience)
    check(listed, Contacts.ListResponse, ours={"data.object"})
    assert [row["id"] for row in listed["data"]] == [bob["id"], made["id"]]
    page = await Contacts.list_async(audience, {"limit": 1})
    assert ([row["id"] for row in page["data"]], page["has_more"]) == ([bob["id"]], True)
    check(Contacts.get(audience_id=audience, email="ada@example.test"), Contact, ours={"object"})
    assert (await Contacts.get_async(audience_id=audience, id=made["id"]))["first_name"] == "Ada"
    assert refused(Contacts.get, audience_id=audience, id=outside)[0] == 404
    change = {"audience_id": audience, "id": made["id"], "unsubscribed": True}
    check(Contacts.update(change), Contacts.UpdateContactResponse)
    await Contacts.update_async({"audience_id": audience, "email": "bob@example.test", "last_name": "B"})
    assert Contacts.get(id=made["id"])["unsubscribed"]
    assert refused(Contacts.update, {"audience_id": audience, "id": outside, "last_name": "x"})[0] == 404

    gone = Contacts.remove(audience_id=audience, email="ada@example.test")
    check(gone, Contacts.RemoveContactResponse)
    assert refused(Contacts.remove, audience_id=audience, id=made["id"])[0] == 404
    assert Contacts.get(id=made["id"])["id"] == made["id"], "only DELETE /contacts erases"
    await Contacts.remove_async(audience_id=audience, id=bob["id"])
    assert Contacts.list(audience_id=audience)["data"] == []


def test_the_older_paths_of_other_sdks(client):
    """Ruby, Go and older versions still have ``/audiences`` itself."""
    made = client.post("/audiences", json={"name": "Readers"})
    assert (made.status_code, made.json()["object"]) == (201, "audience")
    ident = made.json()["id"]
    assert client.get(f"/audiences/{ident}").json() | {"created_at": ""} == {
        "object": "audience", "id": ident, "name": "Readers", "created_at": "",
    }  # fmt: skip
    assert [row["id"] for row in client.get("/audiences").json()["data"]] == [ident]
    assert Segments.get(ident)["name"] == "Readers"
    other = str(new_id())
    body = {"email": "x@example.test", "audience_id": other}
    assert client.post(f"/audiences/{ident}/contacts", json=body).status_code == 422
    assert client.post("/contacts", json=body | {"audience_id": ident}).status_code == 201
    assert len(Contacts.list(audience_id=ident)["data"]) == 1
    assert client.delete(f"/audiences/{ident}").json() == {"object": "audience", "id": ident, "deleted": True}
    assert client.get(f"/audiences/{ident}/contacts").status_code == 404


def test_there_is_an_end_to_segments(place, caller):
    place.sql(
        "INSERT INTO segments (tenant, id, name, created_at, updated_at) "
        "SELECT $1, gen_random_uuid(), 'n', now(), now() FROM generate_series(1, 1000)", caller.tenant,
    )  # fmt: skip
    assert refused(Segments.create, {"name": "one more"}) == (
        422, "There are 1000 segments; more are not possible. Delete one first.",
    )  # fmt: skip
