"""Links to unsubscribe: what mail carries, what following one does, and what does nothing."""

import html
import json
import re
from uuid import UUID

import httpx
import pytest

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.unsubscribe import LISTS
from mailwarren.ingest.domain.unsubscribe_links import Links

KEY, OLD_KEY = "secret-of-these-tests", "secret-of-earlier-tests"
PUBLIC = "https://mail.example.org"
ONE_CLICK = {"List-Unsubscribe": "One-Click"}
BULK = {"from": "Ada <ada@sender.test>", "subject": "Hi", "text": "Hello"}
links = Links(PUBLIC, [KEY])


@pytest.fixture(scope="module")
def public(place):
    """An API that makes links."""
    from conftest import Server

    running = Server(place.settings(public_url=f"{PUBLIC}/v1/", link_keys=f"{KEY} {OLD_KEY}"))
    yield running
    running.stop()


@pytest.fixture
def api(public, caller):
    """The API as a tenant sees it."""
    with public.client(caller.token) as found:
        yield found


@pytest.fixture
def reader(public):
    """Somebody with a browser, and no key."""
    with httpx.Client(base_url=public.root, timeout=30, verify=False) as found:
        yield found


@pytest.fixture
def topic(api):
    """Makes topics; returns their ids."""

    def make(name="News", default="opt_in", visibility="public"):
        body = {"name": name, "default_subscription": default, "visibility": visibility}
        return api.post("/topics", json=body).json()["id"]

    return make


def path_of(tenant, address, topic=None, source=None, made=links):
    link = made.of(tenant, topic and UUID(topic), source or new_id()).link(address)
    return link.removeprefix(PUBLIC)


def left(api, address, topic=None):
    scope = {"topic_id": topic} if topic else {"scope": "lists"}
    return api.get(f"/suppressions/{address}", params=scope).status_code == 200


def boxes(page):
    """The topics that a page shows, and whether each is checked."""
    found = re.findall(r'<input type="checkbox" name="topic" value="([^"]+)"( checked)?>', page.text)
    return {ident: bool(checked) for ident, checked in found}


def form(page, action, checked=()):
    """What a browser sends for a page's form."""
    fields = [("lang", "en"), ("action", action), *(("topic", one) for one in checked)]
    if action == "save":
        fields += [("shown", one) for one in boxes(page)]
    return {"content": str(httpx.QueryParams(fields)), "headers": {"content-type": "application/x-www-form-urlencoded"}}


def test_bulk_mail_carries_what_makes_its_links_and_other_mail_does_not(api, caller, queues, mail, topic):
    news = topic()
    answer = api.post("/emails/bulk", json=BULK | {"recipients": [{"to": "Ada@x.test"}, {"to": "b@gmail.com"}]})
    parcels = queues.parcels()
    assert len(parcels) == 2
    for parcel in parcels:
        assert parcel.unsubscribe == links.of(caller.tenant, None, UUID(answer.json()["id"]))
        claim = links.read(parcel.unsubscribe.link(parcel.deliveries[0].to).removeprefix(f"{PUBLIC}/u/"))
        assert (claim.tenant, claim.topic, claim.source) == (caller.tenant, LISTS, UUID(answer.json()["id"]))
        assert KEY.encode() not in parcel.unsubscribe.key
    api.post("/emails", json=mail)
    assert queues.parcels()[0].unsubscribe is None
    api.post("/emails", json=mail | {"topic_id": news, "priority": "high"})
    assert queues.parcels()[0].unsubscribe.topic == UUID(news)
    assert api.post("/emails", json=mail | {"priority": "bulk"}).status_code == 200
    assert queues.parcels()[0].unsubscribe.base == f"{PUBLIC}/u/"


def test_scheduled_mail_is_about_its_topic(api, place, caller, queues, mail, topic):
    news = topic()
    sent = api.post("/emails", json=mail | {"topic_id": news, "scheduled_at": "in 1 hour"}).json()["id"]
    [row] = place.sql("SELECT mail FROM scheduled WHERE id = $1", UUID(sent))
    assert news.encode() in row["mail"]
    assert api.get(f"/emails/{sent}").json()["last_event"] == "scheduled"


def test_without_a_public_address_there_are_no_links_and_the_topic_stays(client, queues, mail):
    news = client.post("/topics", json={"name": "News", "default_subscription": "opt_in"}).json()["id"]
    client.post("/emails", json=mail | {"topic_id": news})
    [parcel] = queues.parcels()
    assert (parcel.unsubscribe.topic, parcel.unsubscribe.link("a@x.test")) == (UUID(news), "")
    text = {"text": "{{{RESEND_UNSUBSCRIBE_URL}}}", "recipients": [{"to": "a@x.test"}]}
    answer = client.post("/emails/bulk", json=BULK | text)
    assert (answer.status_code, "MAILWARREN_PUBLIC_URL" in answer.json()["message"]) == (422, True)


def test_a_content_may_show_its_readers_link(api, queues):
    rows = {"recipients": [{"to": "a@x.test"}]}
    for name in ("UNSUBSCRIBE_URL", "RESEND_UNSUBSCRIBE_URL"):
        answer = api.post("/emails/bulk", json=BULK | rows | {"html": f'<a href="{{{{{{{name}}}}}}}">leave</a>'})
        assert answer.status_code == 202, answer.text
        assert answer.json()["errors"] == []
    answer = api.post("/emails/bulk", json=BULK | rows | {"text": "{{ UNSUBSCRIBE_URL }}", "priority": "high"})
    assert (answer.status_code, "topic_id" in answer.json()["message"]) == (422, True)
    body = {"name": "News", "from": "a@sender.test", "subject": "S", "variables": [{"key": "NAME", "type": "string"}]}
    body["html"] = "<p>{{{NAME}}} {{{RESEND_UNSUBSCRIBE_URL}}}</p>"
    template = api.post("/templates", json=body).json()["id"]
    shown = api.post(f"/templates/{template}/preview", json={"variables": {"NAME": "Ada"}}).json()
    assert "https://example.com/unsubscribe" in shown["html"]
    assert api.post(f"/templates/{template}/publish", json={}).status_code == 200
    single = {"to": "a@x.test", "template": {"id": template, "variables": {"NAME": "Ada"}}}
    assert "topic_id" in api.post("/emails", json=single).json()["message"]
    assert api.post("/emails", json=single | {"priority": "bulk"}).status_code == 200


@pytest.mark.parametrize("about", [False, True])
def test_one_click_leaves_what_the_mail_was_about(api, reader, caller, topic, about):
    news = topic()
    path = path_of(caller.tenant, "Ada@x.test", news if about else None)
    for number in range(2):
        answer = reader.post(path, data=ONE_CLICK)
        assert (answer.status_code, answer.is_redirect) == (200, False), number
        assert (left(api, "ada@x.test"), left(api, "ada@x.test", news)) == (not about, about)
    path = path_of(caller.tenant, "ADA@X.TEST", news if about else None)
    other = reader.post(path, files={"List-Unsubscribe": (None, "One-Click")})
    assert other.status_code == 200
    scope = {"topic_id": news} if about else {"scope": "lists"}
    [entry] = api.get("/suppressions", params=scope).json()["data"]
    assert (entry["email"], entry["reason"], entry["origin"]) == ("ada@x.test", "unsubscribe", "manual")


def test_the_entry_names_the_call_that_the_link_came_from(api, reader, caller, queues):
    sent = api.post("/emails/bulk", json=BULK | {"recipients": [{"to": "ada@x.test"}]}).json()["id"]
    [parcel] = queues.parcels()
    reader.post(parcel.unsubscribe.link(parcel.deliveries[0].to).removeprefix(PUBLIC), data=ONE_CLICK)
    assert api.get("/suppressions/ada@x.test", params={"scope": "lists"}).json()["source_id"] == sent
    api.post("/emails/bulk", json=BULK | {"recipients": [{"to": "ADA@x.test"}, {"to": "b@x.test"}]})
    assert {one.to: one.suppressed for parcel in queues.parcels() for one in parcel.deliveries} == {
        "ADA@x.test": True, "b@x.test": False,
    }  # fmt: skip


def test_whoever_only_fetches_a_link_changes_nothing(api, reader, caller, topic, place):
    """Mail programs, scanners and crawlers follow links, and some send what they find."""
    news = topic()
    api.post("/contacts", json={"email": "ada@x.test"})
    path = path_of(caller.tenant, "ada@x.test", news)
    before = place.sql("SELECT c::text FROM contacts c WHERE tenant = $1", caller.tenant)
    for call in (
        lambda: reader.get(path),
        lambda: reader.head(path),
        lambda: reader.get(path, params=ONE_CLICK),
        lambda: reader.get(path, headers={"Purpose": "prefetch", "Sec-Purpose": "prefetch"}),
        lambda: reader.options(path),
        lambda: reader.put(path, data=ONE_CLICK),
        lambda: reader.delete(path),
        lambda: reader.post(path),
        lambda: reader.post(path, data={"x": "y"}),
        lambda: reader.post(path, json=ONE_CLICK),
        lambda: reader.post(path, data={"List-Unsubscribe": "Two-Click"}),
        lambda: reader.post(path, content=b"x" * 100_000),
        lambda: reader.post(path, params=ONE_CLICK),
    ):
        assert call().status_code in {200, 400, 405}
    assert not left(api, "ada@x.test")
    assert not left(api, "ada@x.test", news)
    assert place.sql("SELECT c::text FROM contacts c WHERE tenant = $1", caller.tenant) == before
    assert place.sql("SELECT 1 FROM contact_topics WHERE tenant = $1", caller.tenant) == []


def test_tokens_that_were_not_made_here_are_refused_alike(api, reader, caller, new_caller, topic):
    news, stranger = topic(), new_caller().tenant
    good = path_of(caller.tenant, "ada@x.test", news)
    foreign = path_of(caller.tenant, "ada@x.test", news, made=Links(PUBLIC, ["a-key-of-somebody-else"]))
    other = path_of(stranger, "ada@x.test", news)
    # The head of one tenant's token with the rest of another's.
    mixed = good[:30] + other[30:]
    broken = (good[:-1], good[:-4] + "AAAA", f"/u/{good[3:].swapcase()}", "/u/x", f"/u/{'A' * 5000}")
    answers = [
        answer for path in (foreign, mixed, *broken) for answer in (reader.get(path), reader.post(path, data=ONE_CLICK))
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    assert not left(api, "ada@x.test", news)
    old = path_of(caller.tenant, "ada@x.test", news, made=Links(PUBLIC, [OLD_KEY]))
    assert reader.post(old, data=ONE_CLICK).status_code == 200
    assert left(api, "ada@x.test", news)


def test_another_tenants_token_leaves_the_other_tenant(public, api, reader, caller, new_caller):
    other = new_caller()
    assert reader.post(path_of(other.tenant, "ada@x.test"), data=ONE_CLICK).status_code == 200
    assert not left(api, "ada@x.test")
    with public.client(other.token) as theirs:
        assert left(theirs, "ada@x.test")


def test_a_reader_chooses_topics(api, reader, caller, topic):
    news, offers = topic("News & more"), topic("Offers")
    topic("Internal", visibility="private")
    beta = topic("Beta", default="opt_out")
    path = path_of(caller.tenant, "Ada@x.test", news)
    page = reader.get(path)
    assert boxes(page) == {news: True, offers: True}, "who is no contact can take nothing that has to be taken first"
    assert html.unescape(page.text).count("News & more") == 1
    assert "ada@x.test" in page.text
    saved = reader.post(path, **form(page, "save", [offers]))
    assert (saved.status_code, boxes(saved)) == (200, {news: False, offers: True})
    assert (left(api, "ada@x.test", news), left(api, "ada@x.test", offers)) == (True, False)
    api.post("/contacts", json={"email": "ada@x.test"})
    page = reader.get(path)
    assert boxes(page) == {news: False, offers: True, beta: False}
    saved = reader.post(path, **form(page, "save", [news, beta]))
    assert boxes(saved) == boxes(reader.get(path)) == {news: True, offers: False, beta: True}
    chosen = {one["id"]: one["subscription"] for one in api.get("/contacts/ada@x.test/topics").json()["data"]}
    assert (chosen[news], chosen[offers], chosen[beta]) == ("opt_in", "opt_out", "opt_in")
    gone = reader.post(path, **form(page, "leave_all"))
    assert boxes(gone) == {}
    assert api.get("/contacts/ada@x.test").json()["unsubscribed"]
    back = reader.post(path, **form(gone, "come_back"))
    assert boxes(back) == {news: True, offers: False, beta: True}
    assert not api.get("/contacts/ada@x.test").json()["unsubscribed"]


def test_webhooks_hear_what_a_reader_changes_and_nothing_twice(api, reader, caller, topic, place):
    kinds = ["contact.updated", "contact.topics.updated"]
    place.sql(
        "INSERT INTO webhooks (tenant, id, endpoint, events, status, secret, enabled_at, created_at, updated_at) "
        "VALUES ($1, $2, 'https://hooks.test/', $3, 'enabled', '', now(), now(), now())",
        caller.tenant, new_id(), kinds,
    )  # fmt: skip
    news = topic()
    api.post("/contacts", json={"email": "ada@x.test"})
    place.sql("DELETE FROM webhook_deliveries WHERE tenant = $1", caller.tenant)

    def told():
        found = place.sql("DELETE FROM webhook_deliveries WHERE tenant = $1 RETURNING kind, data", caller.tenant)
        return [(row["kind"], json.loads(row["data"])) for row in found]

    of_topic, of_lists = path_of(caller.tenant, "ada@x.test", news), path_of(caller.tenant, "ada@x.test")
    for _ in range(2):
        reader.post(of_topic, data=ONE_CLICK)
    chosen = {"email": "ada@x.test", "topics": [{"id": news, "subscription": "opt_out"}]}
    assert told() == [("contact.topics.updated", chosen)]
    for _ in range(2):
        page = reader.post(of_lists, data=ONE_CLICK)
    [(kind, contact)] = told()
    assert (kind, contact["email"], contact["unsubscribed"]) == ("contact.updated", "ada@x.test", True)
    reader.post(of_lists, **form(page, "come_back"))
    [(kind, contact)] = told()
    assert (kind, contact["unsubscribed"]) == ("contact.updated", False)
    reader.post(path_of(caller.tenant, "nobody@x.test"), data=ONE_CLICK)
    assert told() == []


def test_a_form_changes_only_what_its_page_showed(api, reader, caller, topic):
    news, secret = topic("News"), topic("Secret", visibility="private")
    path = path_of(caller.tenant, "ada@x.test", news)
    fields = [("action", "save"), ("shown", news), ("shown", secret), ("shown", str(new_id())), ("topic", news)]
    kind = {"content-type": "application/x-www-form-urlencoded"}
    assert reader.post(path, content=str(httpx.QueryParams(fields)), headers=kind).status_code == 200
    assert not left(api, "ada@x.test", secret)
    assert reader.post(path, data={"action": "save", "shown": "x"}).status_code == 400
    assert secret in boxes(reader.get(path_of(caller.tenant, "ada@x.test", secret))), "the mail itself named it"


def test_who_leaves_a_topic_that_is_gone_leaves_all_lists(api, reader, caller, topic):
    news = topic()
    path = path_of(caller.tenant, "ada@x.test", news)
    api.delete(f"/topics/{news}")
    assert reader.post(path, data=ONE_CLICK).status_code == 200
    assert left(api, "ada@x.test")


@pytest.mark.parametrize(
    ("accepted", "asked", "language", "title"),
    [("vi-VN,vi;q=0.9", "", "vi", "Tùy chọn"), ("de", "", "en", "Email preferences"), ("en", "vi", "vi", "Tùy chọn")],
)
def test_the_page_speaks_the_readers_language(reader, caller, accepted, asked, language, title):
    path = path_of(caller.tenant, "ada@x.test")
    page = reader.get(path, headers={"accept-language": accepted}, params={"lang": asked} if asked else {})
    assert f'<html lang="{language}">' in page.text
    assert title in page.text


def test_a_page_is_nobody_elses(reader, caller):
    page = reader.get(path_of(caller.tenant, "ada@x.test"))
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert "noindex" in page.headers["x-robots-tag"]
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert "set-cookie" not in page.headers
    assert page.headers["content-type"] == "text/html; charset=utf-8"


def test_while_the_database_is_away_a_provider_is_asked_to_try_again(place, start, caller):
    away = start(ready=False, public_url=PUBLIC, link_keys=KEY, database_url="postgresql://nobody@127.0.0.1:1/nothing")
    path = path_of(caller.tenant, "ada@x.test")
    for answer in (
        httpx.get(f"{away.root}{path}", verify=False), httpx.post(f"{away.root}{path}", data=ONE_CLICK, verify=False),
    ):  # fmt: skip
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
        assert "<form" not in answer.text
