"""Topics and what contacts chose about them, through the official SDK."""

import pytest
import resend
from sdk_shapes import check, refused

from mailwarren.contracts.ids import new_id

pytestmark = pytest.mark.usefixtures("sdk")

Contacts, Topics, Choices = resend.Contacts, resend.Topics, resend.Contacts.Topics
NEWS = {"name": "News", "default_subscription": "opt_in", "description": "Once a month"}
OFFERS = {"name": "Offers", "default_subscription": "opt_out"}


async def test_a_topic_from_making_to_deletion(client):
    made = Topics.create(NEWS)
    ours = {"object", "visibility"}
    check(made, Topics.CreateTopicResponse, ours={"object"})
    other = await Topics.create_async(OFFERS)
    topic = Topics.get(made["id"])
    check(topic, resend.Topic, ours=ours)
    assert (topic["default_subscription"], topic["description"], topic["visibility"]) == (
        "opt_in", "Once a month", "private",
    )  # fmt: skip
    check(await Topics.get_async(other["id"]), resend.Topic, ours=ours)
    check(Topics.list(), Topics.ListResponse, ours={f"data.{name}" for name in ours})
    page = await Topics.list_async({"limit": 1})
    assert ([row["id"] for row in page["data"]], page["has_more"]) == ([other["id"]], True)
    check(Topics.update(made["id"], {"name": "Letters"}), Topics.UpdateTopicResponse, ours={"object"})
    await Topics.update_async(other["id"], {"description": "Now and then"})
    assert [(row["name"], row["description"]) for row in Topics.list()["data"]] == [
        ("Offers", "Now and then"), ("Letters", "Once a month"),
    ]  # fmt: skip
    assert client.patch(f"/topics/{made['id']}", json={"visibility": "public", "description": None}).status_code == 200
    topic = Topics.get(made["id"])
    assert (topic["name"], topic["description"], topic["visibility"]) == ("Letters", "", "public")
    check(Topics.remove(made["id"]), Topics.RemoveTopicResponse)
    check(await Topics.remove_async(other["id"]), Topics.RemoveTopicResponse)
    assert refused(Topics.get, made["id"])[0] == 404
    assert Topics.list()["data"] == []


def test_what_cannot_be_a_topic_is_refused_by_its_field():
    for change, words in (
        ({"name": None}, "Invalid `name` field"),
        ({"name": ""}, "Missing `name` field"),
        ({"name": "x" * 51}, "Invalid `name` field: it has 51 characters"),
        ({"description": "x" * 201}, "Invalid `description` field: it has 201 characters"),
        ({"default_subscription": "maybe"}, "Invalid `default_subscription` field"),
        ({"visibility": "secret"}, "Invalid `visibility` field"),
        ({"audience": "x"}, "Unknown `audience` field"),
    ):
        code, message = refused(Topics.create, NEWS | change)
        assert (code, message.startswith(words)) == (422, True), message
    ident = Topics.create(NEWS)["id"]
    assert refused(Topics.update, ident, {"default_subscription": "opt_out"})[0] == 422
    assert refused(Topics.update, ident, {"name": "x" * 51})[0] == 422
    assert refused(Topics.update, str(new_id()), {"name": "x"})[0] == 404


async def test_a_contact_has_the_defaults_until_it_chooses():
    news, offers = Topics.create(NEWS)["id"], Topics.create(OFFERS)["id"]
    ada = Contacts.create({"email": "ada@example.test"})["id"]

    def holds():
        return [(row["id"], row["subscription"]) for row in Choices.list(contact_id=ada)["data"]]

    listed = Choices.list(email="ADA@example.test")
    check(listed, Choices.ListResponse)
    assert holds() == [(offers, "opt_out"), (news, "opt_in")]
    changed = Choices.update({"id": ada, "topics": [{"id": news, "subscription": "opt_out"}]})
    check(changed, Choices.UpdateResponse)
    assert holds() == [(offers, "opt_out"), (news, "opt_out")]
    both = [{"id": news, "subscription": "opt_in"}, {"id": offers, "subscription": "opt_in"}]
    check(await Choices.update_async({"email": "ada@example.test", "topics": both}), Choices.UpdateResponse)
    assert holds() == [(offers, "opt_in"), (news, "opt_in")]
    page = await Choices.list_async(contact_id=ada, params={"limit": 1, "after": offers})
    assert ([row["name"] for row in page["data"]], page["has_more"]) == (["News"], False)
    Topics.remove(offers)
    assert holds() == [(news, "opt_in")]


def test_choices_can_be_made_with_the_contact():
    news = Topics.create(NEWS)["id"]
    twice = [{"id": news, "subscription": "opt_in"}, {"id": news, "subscription": "opt_out"}]
    ada = Contacts.create({"email": "ada@example.test", "topics": twice})["id"]
    assert [row["subscription"] for row in Choices.list(contact_id=ada)["data"]] == ["opt_out"]


def test_choices_that_cannot_be_noted():
    news = Topics.create(NEWS)["id"]
    ada = Contacts.create({"email": "ada@example.test"})["id"]
    for choice, code in (
        ({"id": news, "subscription": "no"}, 422),
        ({"id": news}, 422),
        ({"id": "7", "subscription": "opt_in"}, 422),
        ({"id": news, "subscription": "opt_in", "x": 1}, 422),
        ({"id": str(new_id()), "subscription": "opt_in"}, 404),
    ):
        good = {"id": news, "subscription": "opt_out"}
        assert refused(Choices.update, {"id": ada, "topics": [good, choice]})[0] == code
    assert Choices.list(contact_id=ada)["data"][0]["subscription"] == "opt_in"
    assert refused(Choices.update, {"id": str(new_id()), "topics": []})[0] == 404


def test_there_is_an_end_to_topics(place, caller):
    place.sql(
        "INSERT INTO topics (tenant, id, name, description, default_subscription, visibility, created_at, updated_at) "
        "SELECT $1, gen_random_uuid(), 'n', '', 'opt_in', 'private', now(), now() FROM generate_series(1, 100)",
        caller.tenant,
    )  # fmt: skip
    assert refused(Topics.create, NEWS) == (
        422, "There are 100 topics; more are not possible. Delete one first.",
    )  # fmt: skip
    listed = Topics.list()
    assert (len(listed["data"]), listed["has_more"]) == (100, False)
