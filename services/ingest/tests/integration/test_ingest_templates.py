"""``/v1/templates`` through the official Python SDK, unmodified, and our additions beside it."""

import concurrent.futures
from pathlib import Path

import pytest
import resend
from resend.exceptions import MissingRequiredFieldsError, ResendError, ValidationError
from resend.templates._template import Template
from resend.templates._templates import Templates
from sdk_shapes import check

from mailwarren.ingest.adapters import templates

pytestmark = pytest.mark.usefixtures("sdk")

OURS = {"mjml", "inline_css", "required", "version", "current_version_id", "has_unpublished_versions"}
NULLS = {"alias", "from", "subject", "reply_to", "text", "published_at", "variables.fallback_value"}
ORDER = {
    "name": "order-confirmation",
    "alias": "order",
    "from": "Shop <shop@sender.test>",
    "subject": "Your {{{PRODUCT}}}",
    "reply_to": "desk@sender.test",
    "html": "<p>Name: {{{PRODUCT}}}</p>\n<p>Total: {{{PRICE}}}</p>",
    "text": "{{{PRODUCT}}}: {{{PRICE}}}",
    "variables": [
        {"key": "PRODUCT", "type": "string", "fallback_value": "item"},
        {"key": "PRICE", "type": "number"},
    ],
}


def test_from_creation_to_deletion():
    made = resend.Templates.create(ORDER)
    check(made, Templates.CreateResponse)
    found = resend.Templates.get(made["id"])
    check(found, Template, ours=OURS, nulls=NULLS)
    assert {name: found[name] for name in ORDER} == ORDER | {
        "reply_to": ["desk@sender.test"],
        "variables": [ORDER["variables"][0], ORDER["variables"][1] | {"fallback_value": None}],
    }
    assert (found["status"], found["published_at"], found["required"]) == ("draft", None, ["PRICE"])
    assert resend.Templates.get("order")["id"] == made["id"]

    check(resend.Templates.publish("order"), Templates.PublishResponse)
    found = resend.Templates.get("order")
    assert (found["status"], found["has_unpublished_versions"]) == ("published", False)
    assert found["published_at"] >= found["created_at"]

    check(resend.Templates.update({"id": made["id"], "name": "Order", "subject": "Thanks"}), Templates.UpdateResponse)
    found = resend.Templates.get(made["id"])
    assert (found["name"], found["subject"], found["html"]) == ("Order", "Thanks", ORDER["html"])
    assert (found["status"], found["has_unpublished_versions"], found["version"]) == ("published", True, 2)

    copy = resend.Templates.duplicate(made["id"])
    check(copy, Templates.DuplicateResponse)
    copied = resend.Templates.get(copy["id"])
    assert (copied["name"], copied["alias"], copied["status"]) == ("Order (copy)", None, "draft")
    assert (copied["html"], copied["variables"]) == (found["html"], found["variables"])

    listed = resend.Templates.list()
    check(listed, Templates.ListResponse, nulls={"data.alias"})
    assert [one["id"] for one in listed["data"]] == [copy["id"], made["id"]]
    page = resend.Templates.list({"limit": 1})
    assert (page["has_more"], page["data"][0]["id"]) == (True, copy["id"])
    assert resend.Templates.list({"after": copy["id"]})["data"][0]["id"] == made["id"]
    assert resend.Templates.list({"before": made["id"]})["data"][0]["id"] == copy["id"]

    removed = resend.Templates.remove(made["id"])
    check(removed, Templates.RemoveResponse)
    assert removed["deleted"] is True
    with pytest.raises(ResendError, match="no template with the id or alias"):
        resend.Templates.get("order")


async def test_the_same_asynchronously():
    made = await resend.Templates.create_async(ORDER)
    check(await resend.Templates.get_async(made["id"]), Template, ours=OURS, nulls=NULLS)
    await resend.Templates.update_async({"id": made["id"], "alias": "later"})
    check(await resend.Templates.publish_async("later"), Templates.PublishResponse)
    copy = await resend.Templates.duplicate_async("later")
    check(await resend.Templates.list_async(), Templates.ListResponse, nulls={"data.alias"})
    assert (await resend.Templates.remove_async(copy["id"]))["deleted"] is True


def test_the_page_about_moving_copies_templates_from_one_account_to_another(server, caller, new_caller, monkeypatch):
    page = (Path(__file__).parents[4] / "docs" / "moving.md").read_text()
    script = page.partition("```python\n")[2].partition("```")[0]
    before = new_caller()
    monkeypatch.setattr(resend, "api_key", before.token)
    resend.Templates.publish(resend.Templates.create(ORDER)["id"])
    resend.Templates.create({"name": "plain", "html": "<p>"})
    monkeypatch.setattr(resend, "api_key", caller.token)
    monkeypatch.setenv("OLD_KEY", before.token)
    assert "https://api.resend.com" in script
    exec(script.replace("https://api.resend.com", server.url), {})
    found = resend.Templates.get("order")
    assert (found["status"], found["subject"], found["html"]) == ("published", ORDER["subject"], ORDER["html"])
    assert [(one["name"], one["status"]) for one in resend.Templates.list()["data"]] == [
        ("order-confirmation", "published"), ("plain", "draft"),
    ]  # fmt: skip
    assert found["variables"][1] == ORDER["variables"][1] | {"fallback_value": None}


def test_another_tenants_template_is_not_there(client, new_caller, monkeypatch):
    made = resend.Templates.create(ORDER)
    monkeypatch.setattr(resend, "api_key", new_caller().token)
    for call in (
        lambda: resend.Templates.get(made["id"]),
        lambda: resend.Templates.get("order"),
        lambda: resend.Templates.update({"id": made["id"], "name": "Mine"}),
        lambda: resend.Templates.publish(made["id"]),
        lambda: resend.Templates.duplicate(made["id"]),
        lambda: resend.Templates.remove(made["id"]),
    ):
        with pytest.raises(ResendError) as caught:
            call()
        assert (caught.value.code, caught.value.error_type) == (404, "not_found")
    assert resend.Templates.list()["data"] == []
    with pytest.raises(ResendError, match="cursor"):
        resend.Templates.list({"after": made["id"]})
    assert resend.Templates.create(ORDER)["id"] != made["id"], "an alias is the tenant's own"
    assert client.get("/templates/order").json()["id"] == made["id"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": ""}, "`name`"),
        ({"name": "a\nb"}, "`name`"),
        ({"alias": "no spaces"}, "`alias`"),
        ({"alias": "0191a6a2-5b7c-7d3e-8f00-000000000001"}, "`alias`"),
        ({"from": "nobody"}, "`from`"),
        ({"reply_to": ["a@sender.test", "b"]}, r"`reply_to\[1\]`"),
        ({"subject": "a\r\nBcc: eve@example.test"}, "line break"),
        ({"html": "<p>\n{{ a"}, "`html` field: .*line 2"),
        ({"html": "<p>\n\n{% for x in y %}"}, "`html` field: .*line 3"),
        ({"text": "{% macro a() %}{% endmacro %}"}, "`text` field: .*macro"),
        ({"subject": "{% if a %}"}, "`subject` field: .*template cannot be read"),
        ({"html": "\0"}, "NUL"),
        ({"html": "x" * 600_000}, "600026 bytes"),
        ({"variables": [{"key": "1A", "type": "string"}]}, r"`variables\[0\].key`"),
        ({"variables": [{"key": "this", "type": "string"}]}, "reserved"),
        ({"variables": [{"key": "A", "type": "string"}, {"key": "A", "type": "number"}]}, r"`variables\[1\].key`"),
        ({"variables": [{"key": "A", "type": "number", "fallback_value": "1"}]}, "declared as a number"),
        ({"variables": [{"key": "A", "type": "string", "fallback_value": 1}]}, "declared as a string"),
        ({"variables": [{"key": "A", "type": "number", "fallback_value": True}]}, "fallback_value"),
        ({"variables": [{"key": "A", "type": "list"}]}, r"`variables\[0\].type`"),
        ({"variables": [{"key": "A", "type": "string", "fallback_value": "x" * 5000}]}, "4096 bytes"),
        ({"variables": [{"key": f"A{n}", "type": "string"} for n in range(51)]}, "50 variables"),
        ({"react": "<Mail/>"}, "Unknown `react`"),
        ({"html": "<p>", "mjml": "<mjml></mjml>"}, "`html` and `mjml`"),
    ],
)
def test_what_no_template_may_be_is_a_422_that_names_it(change, words):
    with pytest.raises((ValidationError, ResendError), match=words) as caught:
        resend.Templates.create(ORDER | change)
    assert caught.value.code == 422
    made = resend.Templates.create(ORDER)
    before = resend.Templates.get(made["id"])
    with pytest.raises((ValidationError, ResendError), match=words):
        resend.Templates.update({"id": made["id"], **change})
    after = resend.Templates.get(made["id"])
    assert {**before, "http_headers": None} == {**after, "http_headers": None}


def test_what_is_required():
    for absent, field in (("html", "html"), ("name", "name")):
        with pytest.raises(MissingRequiredFieldsError, match=f"`{field}`"):
            resend.Templates.create({key: value for key, value in ORDER.items() if key != absent})
    resend.Templates.create({"name": "least", "html": "<p>"})


def test_an_alias_is_given_once():
    resend.Templates.create(ORDER)
    other = resend.Templates.create(ORDER | {"alias": "other"})
    for again in (
        lambda: resend.Templates.create(ORDER),
        lambda: resend.Templates.update({"id": other["id"], "alias": "order"}),
    ):
        with pytest.raises(ValidationError, match="another template has the alias `order`"):
            again()
    resend.Templates.update({"id": other["id"], "alias": None})
    assert resend.Templates.get(other["id"])["alias"] is None


def test_versions_and_the_way_back(client):
    made = resend.Templates.create(ORDER)
    path = f"/templates/{made['id']}"
    resend.Templates.update({"id": made["id"], "subject": "draft, changed in place"})
    assert [one["version"] for one in client.get(f"{path}/versions").json()["data"]] == [1]
    resend.Templates.publish(made["id"])
    resend.Templates.update({"id": made["id"], "subject": "second"})
    resend.Templates.publish(made["id"])
    resend.Templates.update({"id": made["id"], "subject": "third"})
    listed = client.get(f"{path}/versions").json()
    assert [(one["version"], one["status"]) for one in listed["data"]] == [
        (3, "draft"), (2, "published"), (1, "superseded"),
    ]  # fmt: skip
    page = client.get(f"{path}/versions", params={"limit": 1, "after": listed["data"][0]["id"]}).json()
    assert ([one["version"] for one in page["data"]], page["has_more"]) == ([2], True)
    first = client.get(f"{path}/versions/1").json()
    assert (first["object"], first["subject"], first["template_id"]) == (
        "template_version", "draft, changed in place", made["id"],
    )  # fmt: skip
    assert client.get(f"{path}/versions/9").status_code == 404
    assert client.get(f"{path}/versions/x").status_code == 422
    assert client.get("/templates/%00").status_code == 404

    assert client.post(f"{path}/publish", json={"version": 1}).status_code == 200
    found = resend.Templates.get(made["id"])
    assert (found["subject"], found["version"], found["has_unpublished_versions"]) == (first["subject"], 4, False)
    assert client.get(f"{path}/versions/3").json()["subject"] == "third", "the draft is kept"
    assert client.post(f"{path}/publish", json={"version": 9}).status_code == 404


def test_the_newest_versions_are_kept(client, monkeypatch):
    monkeypatch.setattr(templates, "MAX_VERSIONS", 5)
    made = resend.Templates.create({"name": "n", "html": "0", "subject": "0"})
    for number in range(1, 9):
        resend.Templates.publish(made["id"])
        resend.Templates.update({"id": made["id"], "subject": str(number)})
    listed = client.get(f"/templates/{made['id']}/versions", params={"limit": 100}).json()["data"]
    assert [one["version"] for one in listed] == list(range(9, 4, -1))


def test_preview_fills_in_and_names_what_is_missing(client):
    resend.Templates.create(ORDER)
    shown = client.post("/templates/order/preview", json={"variables": {"PRICE": 3, "PRODUCT": "<Tea>"}}).json()
    assert (shown["object"], shown["version"]) == ("template_preview", 1)
    assert shown["subject"] == "Your <Tea>"
    assert shown["html"] == "<p>Name: &lt;Tea&gt;</p>\n<p>Total: 3</p>"
    assert shown["text"] == "<Tea>: 3"
    for body in ({}, {"variables": {"PRICE": None}}, {"variables": []}):
        answer = client.post("/templates/order/preview", json=body)
        assert (answer.status_code, answer.json()["name"]) == (422, "missing_required_field")
        assert "the template needs `PRICE` (line 2 of `html`)" in answer.json()["message"]
    answer = client.post("/templates/order/preview", json={"variables": {"PRICE": "3"}})
    assert "`variables.PRICE` field: `PRICE` is declared as a number" in answer.json()["message"]
    answer = client.post("/templates/order/preview", json={"variables": {"PRICE": 3, "PRODUCT": "a\nb"}})
    assert "line break" in answer.json()["message"]


def test_two_changes_at_once_lose_neither(client):
    made = resend.Templates.create(ORDER)
    changes = [{"subject": "new"}, {"text": "new"}]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        statuses = list(pool.map(lambda body: client.patch(f"/templates/{made['id']}", json=body).status_code, changes))
    assert statuses == [200, 200]
    found = resend.Templates.get(made["id"])
    assert (found["subject"], found["text"]) == ("new", "new")
