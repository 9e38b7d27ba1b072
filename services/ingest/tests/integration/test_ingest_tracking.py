"""Tracking over HTTP: what domains and mails say of it, where links lead and where not, what becomes of hits."""

import time
from uuid import UUID, uuid4

import httpx
import pytest
import resend
from private_dns import private_dns
from resend.domains._domain import Domain
from resend.domains._domains import Domains
from sdk_shapes import check

from mailwarren.contracts.codec import decode_tracker
from mailwarren.contracts.ids import new_id, partition_of
from mailwarren.contracts.tracking import CLICK, OPEN, Flag, HitKind
from mailwarren.ingest.domain.hit_bounds import WINDOW
from mailwarren.ingest.domain.tracking_links import TrackingLinks, Visit
from mailwarren.runtime.vault import new_key

KEY = "secret-of-these-tests"
PUBLIC = "https://mail.example.org"
BROWSER = {
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/130.0.0.0 Safari/537.36",
    "accept": "text/html",
}
URL = "https://shop.test/basket?a=1&b=é#top"
links = TrackingLinks(PUBLIC, [KEY])
OURS_OF_A_RECORD = {"records.needed", "records.found", "records.problem", "records.key", "records.keep_until"}
OURS = {"object", "tls", "custom_return_path", "envelope_sender", "checked_at", "alignment", *OURS_OF_A_RECORD}


@pytest.fixture(scope="module")
def dns():
    with private_dns() as running:
        running.host("mail.example.org", "192.0.2.1")
        yield running


@pytest.fixture(scope="module")
def tracking_settings(dns, tmp_path_factory):
    file = tmp_path_factory.mktemp("data-keys") / "keys"
    file.write_text(new_key())
    return {
        "public_url": PUBLIC, "link_keys": KEY, "data_keys": file, "internal_token": "internal-token-of-a-test",
        "resolver": dns.address,
    }  # fmt: skip


@pytest.fixture(scope="module")
def server(place, tracking_settings):
    """An API that tracks."""
    from conftest import Server

    running = Server(place.settings(**tracking_settings))
    yield running
    running.stop()


@pytest.fixture
def reader(server):
    """Somebody with a browser, who does not follow redirections."""
    with httpx.Client(base_url=server.root, timeout=30, verify=False, headers=BROWSER) as found:
        yield found


@pytest.fixture
def name():
    """A domain that no other test has."""
    return f"t{uuid4().hex[:8]}.test"


@pytest.fixture
def visit(caller):
    """A click of a tenant of the test's own, in a partition of its own."""
    return Visit(caller.tenant, new_id(), new_id(), 5, float(int(time.time()) - 60), URL)


def path_of(visit, use=CLICK):
    tracking = links.of(visit.tenant, visit.partition, visit.accepted_at, None)
    address = tracking.pixel if use == OPEN else lambda *ids: tracking.link(*ids, visit.link)
    return address(visit.email_id, visit.delivery).removeprefix(PUBLIC)


def hits_of(queues, visit, number):
    """So many hits of a tenant, out of the queue of their partition; nothing else of it comes before."""
    found = []
    for message in queues.follow(queues.topology.events_queue(visit.partition).name):
        if message.headers["mw-type"] == "hits":
            body = message.body.encode() if isinstance(message.body, str) else bytes(message.body)
            found += [hit for hit in decode_tracker(body, message.headers).hits if hit.tenant == visit.tenant]
        if len(found) >= number:
            return found
    raise AssertionError("the queue has ended")


def test_a_click_is_queued_and_leads_to_where_the_mail_said(reader, queues, visit):
    began = time.time()
    answer = reader.get(path_of(visit))
    assert answer.status_code == 302
    # As a header can hold it; a browser shows the same address.
    assert answer.headers["location"] == "https://shop.test/basket?a=1&b=%C3%A9#top"
    assert "no-store" in answer.headers["cache-control"]
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "set-cookie" not in answer.headers
    (hit,) = hits_of(queues, visit, 1)
    assert (hit.kind, hit.link, hit.agent, hit.flag, hit.ip) == (
        HitKind.CLICKED, URL, BROWSER["user-agent"], None, None,
    )  # fmt: skip
    assert (hit.delivery, hit.email_id, hit.accepted_at) == (visit.delivery, visit.email_id, visit.accepted_at)
    assert began - 1 <= hit.at <= time.time() + 1


def test_a_pixel_is_a_picture_that_nobody_keeps(reader, queues, visit):
    answer = reader.get(path_of(visit, OPEN), headers={"user-agent": "x (via ggpht.com GoogleImageProxy)"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/gif")
    assert answer.content.startswith(b"GIF89a")
    assert "no-store" in answer.headers["cache-control"]
    (hit,) = hits_of(queues, visit, 1)
    assert (hit.kind, hit.link, hit.flag) == (HitKind.OPENED, None, Flag.PROXY)


def test_a_head_is_answered_and_not_recorded(reader, queues, visit):
    for path in (path_of(visit), path_of(visit, OPEN)):
        assert reader.head(path).status_code in {200, 302}
    reader.get(path_of(visit))
    assert [hit.kind for hit in hits_of(queues, visit, 1)] == [HitKind.CLICKED]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_but_a_get_is_taken(reader, visit, method):
    assert reader.request(method, path_of(visit)).status_code == 405


def test_no_address_that_was_not_made_here_leads_anywhere(reader, visit):
    good = path_of(visit)
    forged = TrackingLinks(PUBLIC, ["another secret, guessed"]).of(visit.tenant, 5, visit.accepted_at, None)
    wrong = [
        forged.link(visit.email_id, visit.delivery, "https://evil.test").removeprefix(PUBLIC),
        f"{good[:-3]}AAA",
        good[:60],
        "/t/c/https:%2F%2Fevil.test",
        "/t/c/x?url=https://evil.test",
        good.replace("/c/", "/o/"),
        path_of(visit, OPEN).replace("/o/", "/c/"),
    ]
    for path in wrong:
        answer = reader.get(path)
        assert answer.status_code == 404, path
        assert "location" not in answer.headers
    assert "Liên kết" in reader.get(wrong[0], headers={"accept-language": "vi"}).text


def test_too_many_hits_of_one_delivery_are_answered_and_not_recorded(reader, queues, visit):
    if time.time() % WINDOW > WINDOW - 5:
        # The bound begins anew with the minute: no test across it.
        time.sleep(WINDOW - time.time() % WINDOW)
    for _ in range(35):
        assert reader.get(path_of(visit)).status_code == 302
    last = Visit(visit.tenant, new_id(), new_id(), visit.partition, visit.accepted_at, URL)
    reader.get(path_of(last))
    found = [hit.delivery for hit in hits_of(queues, visit, 31)]
    assert found == [visit.delivery] * 30 + [last.delivery]


def test_an_address_is_kept_only_where_a_setting_says_so(start, tracking_settings, queues, visit):
    other = start(**tracking_settings, tracking_ips=True)
    with httpx.Client(base_url=other.root, verify=False, headers=BROWSER) as client:
        client.get(path_of(visit))
        client.get(path_of(visit), headers={"x-forwarded-for": "198.51.100.9, 192.0.2.7"})
    assert [hit.ip for hit in hits_of(queues, visit, 2)] == ["127.0.0.1", "192.0.2.7"]


def tracking_of(queues):
    [parcel] = queues.parcels()
    return parcel.content.tracking, parcel


def test_mail_is_not_tracked_unless_somebody_says_so(client, queues, mail):
    client.post("/emails", json=mail | {"html": "<p>Hello"})
    assert tracking_of(queues)[0] is None


def test_a_mail_says_for_itself_what_is_tracked(client, caller, queues, mail):
    sent = client.post("/emails", json=mail | {"html": "<p>Hello", "click_tracking": True}).json()["id"]
    tracking, parcel = tracking_of(queues)
    assert (tracking.opens, tracking.clicks, tracking.base) == (False, True, PUBLIC)
    address = tracking.link(UUID(sent), parcel.deliveries[0].id, URL)
    found = links.read(address.removeprefix(f"{PUBLIC}/t/c/"), CLICK)
    assert found == Visit(
        caller.tenant,
        UUID(sent),
        parcel.deliveries[0].id,
        partition_of(UUID(sent)),
        float(int(parcel.accepted_at)),
        URL,
    )
    assert KEY.encode() not in tracking.key
    client.post("/emails", json=mail | {"open_tracking": True})
    assert tracking_of(queues)[0] is None  # there is no html


def test_where_nothing_can_be_signed_nothing_is_accepted_to_be_tracked(start, caller, mail):
    with start().client(caller.token) as plain:
        for field in ("open_tracking", "click_tracking"):
            answer = plain.post("/emails", json=mail | {field: True})
            assert (answer.status_code, field in answer.json()["message"]) == (422, True)
            assert plain.post("/emails", json=mail | {field: False}).status_code == 200


def test_a_domain_says_it_for_its_mail_through_the_sdk(sdk, client, queues, dns, mail, name):
    made = resend.Domains.create({"name": name, "open_tracking": True, "tracking_subdomain": "Links"})
    check(made, Domains.CreateDomainResponse, ours=OURS, nulls={"checked_at", "custom_return_path", "envelope_sender"})
    assert (made["open_tracking"], made["click_tracking"], made["tracking_subdomain"]) == (True, False, "links")
    (record,) = [one for one in made["records"] if one["record"] == "Tracking"]
    assert (record["type"], record["name"], record["value"], record["needed"]) == (
        "CNAME", f"links.{name}", "mail.example.org", False,
    )  # fmt: skip
    sender = mail | {"from": f"Ada <ada@{name}>", "html": "<p>Hello"}
    client.post("/emails", json=sender)
    tracking, _ = tracking_of(queues)
    assert (tracking.opens, tracking.clicks, tracking.base) == (True, False, PUBLIC)

    # Before its record is there links lead over the system's own host; the domain is verified without it.
    for one in made["records"]:
        if one["record"] != "Tracking":
            dns.publish([one])
    looked = resend.Domains.verify(made["id"])
    assert looked["status"] == "verified"
    (record,) = [one for one in looked["records"] if one["record"] == "Tracking"]
    assert (record["status"], "no CNAME" in record["problem"]) == ("failed", True)
    dns.publish([record])
    looked = resend.Domains.verify(made["id"])
    assert {one["status"] for one in looked["records"]} == {"verified"}
    client.post("/emails", json=sender | {"open_tracking": False, "click_tracking": True})
    tracking, _ = tracking_of(queues)
    assert (tracking.opens, tracking.clicks, tracking.base) == (False, True, f"https://links.{name}")

    changed = resend.Domains.update({"id": made["id"], "open_tracking": False, "click_tracking": True})
    check(changed, Domain, ours=OURS, nulls={"custom_return_path", "envelope_sender"})
    (listed,) = resend.Domains.list()["data"]
    assert (listed["open_tracking"], listed["click_tracking"], listed["tracking_subdomain"]) == (False, True, "links")
    client.post("/emails", json=sender | {"scheduled_at": "in 1 hour"})
    client.post("/emails", json=sender)
    tracking, _ = tracking_of(queues)
    assert (tracking.opens, tracking.clicks) == (False, True)

    # Another name is used once its record is there, and none at all at once.
    assert resend.Domains.update({"id": made["id"], "tracking_subdomain": "go"})["tracking_subdomain"] == "go"
    client.post("/emails", json=sender)
    assert tracking_of(queues)[0].base == PUBLIC
    assert "tracking_subdomain" not in client.patch(f"/domains/{made['id']}", json={"tracking_subdomain": ""}).json()


@pytest.mark.parametrize("label", ["-a", "a b", "ä", "a..b"])
def test_a_name_that_is_none_is_refused(sdk, client, name, label):
    answer = client.post("/domains", json={"name": name, "tracking_subdomain": label})
    assert (answer.status_code, "`tracking_subdomain`" in answer.json()["message"]) == (422, True)


def test_an_alias_of_somebody_else_is_no_host_of_ours(sdk, dns, name):
    made = resend.Domains.create({"name": name, "tracking_subdomain": "links"})
    dns.host("elsewhere.test", "192.0.2.9")
    dns.alias(f"links.{name}", "elsewhere.test")
    looked = resend.Domains.verify(made["id"])
    (record,) = [one for one in looked["records"] if one["record"] == "Tracking"]
    assert (record["status"], record["found"]) == ("failed", ["CNAME elsewhere.test", "192.0.2.9"])
    assert "elsewhere.test, which is not mail.example.org" in record["problem"]


def test_what_a_reader_did_is_shown(client, place, caller):
    """As the tracker records it: rows straight into the tables."""
    email, delivery = new_id(), new_id()
    place.sql(
        'INSERT INTO emails (id, tenant, created_at, lane, partition, content, sender, subject, "to", cc, bcc, '
        "reply_to, tags, metadata, message_id, on_unknown) VALUES ($1, $2, now(), 'normal', 0, ''::bytea, 'a@s.test', "
        "'S', ARRAY['b@x.test'], '{}', '{}', '{}', '[]', '{}', 'm@s.test', 'resend')",
        email, caller.tenant,
    )  # fmt: skip
    place.sql(
        "INSERT INTO deliveries (id, email_id, tenant, address, role, lane, state, attempt, accepted_at, updated_at, "
        "ended_at, opens, clicks, opened_at, clicked_at) VALUES ($1, $2, $3, 'b@x.test', 'to', 'normal', 'delivered', "
        "1, now(), now(), now(), 2, 1, now(), now())",
        delivery, email, caller.tenant,
    )  # fmt: skip
    place.sql(
        "INSERT INTO events (at, id, delivery_id, email_id, tenant, kind, attempt, link, agent, flag) "
        "VALUES (now(), $1, $2, $3, $4, 'clicked', 0, 'https://x.test', 'Mozilla', 'quick')",
        new_id(), delivery, email, caller.tenant,
    )  # fmt: skip
    shown = client.get(f"/emails/{email}").json()
    assert shown["last_event"] == "clicked"
    (status,) = shown["status"]
    assert (status["state"], status["opens"], status["clicks"]) == ("delivered", 2, 1)
    assert status["opened_at"] is not None
    assert client.get("/emails").json()["data"][0]["last_event"] == "clicked"
    (entry,) = [one for one in client.get(f"/emails/{email}/timeline").json()["data"] if one["kind"] == "clicked"]
    assert (entry["link"], entry["user_agent"], entry["flag"], entry["to"]) == (
        "https://x.test", "Mozilla", "quick", "b@x.test",
    )  # fmt: skip
    place.sql("UPDATE deliveries SET clicked_at = NULL WHERE id = $1", delivery)
    assert client.get(f"/emails/{email}").json()["last_event"] == "opened"
