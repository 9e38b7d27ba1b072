"""Sending domains through the official SDK, sync and async, against a real DNS server and from there to the senders."""

import base64
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
import resend
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key
from expanding import fill
from private_dns import PrivateDns, private_dns
from resend.domains._domain import Domain
from resend.domains._domains import Domains
from resend.webhooks._webhook_event import DomainCreatedEvent, DomainDeletedEvent, DomainUpdatedEvent
from sdk_shapes import check, refused

from mailwarren.contracts.dkim import ED25519, RSA, decode_keys, keys_path
from mailwarren.contracts.tls import TlsNeed
from mailwarren.runtime.vault import new_key

TOKEN = "internal-token-of-a-test"
OURS_OF_A_RECORD = {"records.needed", "records.found", "records.problem", "records.key", "records.keep_until"}
OURS_OF_A_DOMAIN = {"object", "tls", "custom_return_path", "envelope_sender", "checked_at", "alignment"}
WHOLE = {"ours": OURS_OF_A_DOMAIN | OURS_OF_A_RECORD}
SHORT = {"ours": {"object"}}
_numbers = itertools.count()


@pytest.fixture(scope="module")
def dns() -> Iterator[PrivateDns]:
    with private_dns() as running:
        running.text("_spf.mail.test", "v=spf1 ip4:192.0.2.10 -all")
        yield running


@pytest.fixture(scope="module")
def data_keys(tmp_path_factory) -> Any:
    file = tmp_path_factory.mktemp("data-keys") / "keys"
    file.write_text(new_key())
    return file


@pytest.fixture(scope="module")
def domain_settings(dns, data_keys) -> dict[str, Any]:
    return {
        "data_keys": data_keys, "internal_token": TOKEN, "resolver": dns.address, "spf": "include:_spf.mail.test",
        "bounce_host": "bounces.mail.test",
    }  # fmt: skip


@pytest.fixture(scope="module")
def server(place, domain_settings):
    from conftest import Server

    running = Server(place.settings(**domain_settings))
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def sdk(server, caller, monkeypatch):
    monkeypatch.setattr(resend, "api_url", server.url)
    monkeypatch.setattr(resend, "api_key", caller.token)


@pytest.fixture
def name() -> str:
    """A domain that no other test has."""
    return f"d{next(_numbers)}-{uuid4().hex[:8]}.test"


def ask_inside(server, tenant, domain, token=TOKEN) -> httpx.Response:
    """Ask as a sender does."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(server.api.internal)
        async with httpx.AsyncClient(transport=transport, base_url="http://inside") as client:
            return await client.get(keys_path(tenant, domain), headers={"Authorization": f"Bearer {token}"})

    return server.run(ask())


def by_record(domain: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """``DKIM rsa``, ``DKIM ed25519``, ``SPF MX``, ``SPF TXT``, ``DMARC TXT``."""

    def name(record: dict[str, Any]) -> str:
        kind = record["value"].split("k=")[1].split(";")[0] if record["record"] == "DKIM" else record["type"]
        return f"{record['record']} {kind}"

    return {name(one): one for one in domain["records"]}


def test_from_the_first_call_to_a_verified_domain(dns, name):
    made = resend.Domains.create({"name": name.upper(), "region": "eu-west-1"})
    check(made, Domains.CreateDomainResponse, **WHOLE, nulls={"checked_at"})
    assert (made["name"], made["status"], made["region"]) == (name, "not_started", "eu-west-1")
    records = by_record(made)
    assert set(records) == {"DKIM rsa", "DKIM ed25519", "SPF MX", "SPF TXT", "DMARC TXT"}
    assert (records["DKIM rsa"]["key"], records["DKIM ed25519"]["key"]) == ("active", "next")
    assert {one["status"] for one in records.values()} == {"not_started"}
    assert (records["SPF MX"]["name"], records["SPF MX"]["priority"]) == (f"send.{name}", 10)
    assert records["SPF TXT"]["value"] == "v=spf1 include:_spf.mail.test ~all"
    check(resend.Domains.get(made["id"]), Domain, **WHOLE)

    looked = resend.Domains.verify(made["id"])
    check(looked, Domain, **WHOLE)
    assert looked["status"] == "pending"
    assert {one["status"] for one in looked["records"]} == {"failed"}
    assert all(one["problem"] and one["found"] == [] for one in looked["records"])

    dns.publish(made["records"])
    verified = resend.Domains.verify(made["id"])
    check(verified, Domain, **WHOLE)
    assert verified["status"] == "verified"
    assert {one["status"] for one in verified["records"]} == {"verified"}
    # Both keys sign now.
    assert [one["key"] for one in verified["records"] if one["record"] == "DKIM"] == ["active", "active"]
    assert verified["envelope_sender"] == f"bounces@send.{name}"
    assert verified["alignment"] == {
        "policy": "none", "record": f"_dmarc.{name}", "dkim": True, "spf": True, "subdomains": True,
    }  # fmt: skip
    read = resend.Domains.get(made["id"])
    assert {field: read[field] for field in verified if field != "http_headers"} == {
        field: value for field, value in verified.items() if field != "http_headers"
    }


async def test_the_same_async(dns, name):
    made = await resend.Domains.create_async({"name": name, "custom_return_path": "Bounce"})
    check(made, Domains.CreateDomainResponse, **WHOLE)
    assert by_record(made)["SPF MX"]["name"] == f"bounce.{name}"
    dns.publish(made["records"])
    verified = await resend.Domains.verify_async(made["id"])
    check(verified, Domain, **WHOLE)
    assert verified["status"] == "verified"
    changed = await resend.Domains.update_async({"id": made["id"], "open_tracking": False, "tls": "opportunistic"})
    check(changed, Domain, **WHOLE)
    check(await resend.Domains.get_async(made["id"]), Domain, **WHOLE)
    listed = await resend.Domains.list_async({"limit": 1})
    check(listed, Domains.ListResponse, ours={"data.object"})
    removed = await resend.Domains.remove_async(made["id"])
    check(removed, Domain, **SHORT)
    assert removed["deleted"] is True


def test_a_list_has_pages_and_nobody_else_sees_it(server, caller, new_caller, name):
    made = [resend.Domains.create({"name": f"{n}.{name}"})["id"] for n in range(3)]
    listed = resend.Domains.list()
    check(listed, Domains.ListResponse, ours={"data.object"})
    assert [one["id"] for one in listed["data"]] == made[::-1]
    page = resend.Domains.list({"limit": 2})
    assert (page["has_more"], [one["id"] for one in page["data"]]) == (True, [made[2], made[1]])
    rest = resend.Domains.list({"limit": 2, "after": made[1]})
    assert (rest["has_more"], [one["id"] for one in rest["data"]]) == (False, [made[0]])
    with server.client(new_caller().token) as other:
        assert other.get("/domains").json()["data"] == []
        for method, path in (("GET", ""), ("PATCH", ""), ("POST", "/verify"), ("POST", "/rotate"), ("DELETE", "")):
            body = {"json": {}} if method == "PATCH" else {}
            assert other.request(method, f"/domains/{made[0]}{path}", **body).status_code == 404


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"name": ""}, "Missing `name`"),
        ({"name": "com"}, "Invalid `name`"),
        ({"name": "a b.test"}, "Invalid `name`"),
        ({"name": "ada@x.test"}, "the domain alone"),
        ({"name": "x.test", "custom_return_path": "a b"}, "`custom_return_path`"),
        ({"name": "x.test", "open_tracking": True}, "`open_tracking`"),
        ({"name": "x.test", "click_tracking": True}, "`click_tracking`"),
        ({"name": "x.test", "tracking_subdomain": "links"}, "`tracking_subdomain`"),
        ({"name": "x.test", "tls": "always"}, "tls"),
        ({"name": "x.test", "region": "mars"}, "`region`"),
        ({"name": "x.test", "capabilities": {}}, "Unknown `capabilities`"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(params, why):
    status, message = refused(resend.Domains.create, params)
    assert status == 422
    assert why in message


def test_a_name_is_there_once_for_a_tenant_and_for_every_tenant(server, caller, new_caller, name):
    made = resend.Domains.create({"name": name})
    assert "is there already" in refused(resend.Domains.create, {"name": name})[1]
    with server.client(new_caller().token) as other:
        theirs = other.post("/domains", json={"name": name}).json()
    assert by_record(theirs)["DKIM rsa"]["name"] != by_record(made)["DKIM rsa"]["name"]
    resend.Domains.remove(made["id"])
    assert refused(resend.Domains.get, made["id"])[0] == 404
    again = resend.Domains.create({"name": name})
    assert by_record(again)["DKIM rsa"]["name"] != by_record(made)["DKIM rsa"]["name"]


# What verify says


@pytest.fixture
def published(dns, name) -> dict[str, Any]:
    """A domain with all its records."""
    made = resend.Domains.create({"name": name})
    dns.publish(made["records"])
    assert resend.Domains.verify(made["id"])["status"] == "verified"
    return made


def look(made: dict[str, Any], record: str) -> tuple[str, str, list[str], str]:
    """After a look: the domain's status, the record's, what was found and what is wrong."""
    domain = resend.Domains.verify(made["id"])
    one = by_record(domain)[record]
    return domain["status"], one["status"], one["found"], one["problem"] or ""


def test_a_wrong_key_is_shown_beside_what_was_expected(dns, published):
    key = by_record(published)["DKIM rsa"]
    wrong = key["value"].replace("p=MI", "p=MX")
    dns.text(key["name"], wrong)
    status, record, found, problem = look(published, "DKIM rsa")
    # It was verified before: mail goes on for a while.
    assert (status, record, found) == ("temporary_failure", "failed", [wrong])
    assert "another key" in problem
    dns.text(key["name"], key["value"][:255])
    assert "it ends after" in look(published, "DKIM rsa")[3]
    dns.alias(key["name"], f"elsewhere.{published['name']}")
    dns.text(f"elsewhere.{published['name']}", key["value"], string=60)
    status, record, found, problem = look(published, "DKIM rsa")
    assert (status, record, problem) == ("verified", "verified", "")
    assert found == [f"CNAME elsewhere.{published['name']}", key["value"]]


def test_a_record_of_strange_octets_is_wrong_and_shown(dns, published):
    key = by_record(published)["DKIM rsa"]
    dns.text(key["name"], "v=DKIM1; p=\0\x01" + "x" * 9000)
    status, record, (found,), problem = look(published, "DKIM rsa")
    assert (status, record, problem.startswith("The record has another key")) == ("temporary_failure", "failed", True)
    assert found.startswith("v=DKIM1; p=\ufffd\x01xxx")
    assert len(found) == 4096
    dns.text(key["name"], key["value"])
    assert look(published, "DKIM rsa")[:2] == ("verified", "verified")


def test_spf_and_the_return_path(dns, published, queues, mail):
    place = f"send.{published['name']}"
    dns.text(place, "v=spf1 include:_spf.mail.test ~all", "v=spf1 -all")
    assert "2 SPF records" in look(published, "SPF TXT")[3]
    hosts = " ".join(f"a:h{n}.test" for n in range(11))
    dns.text(place, f"v=spf1 include:_spf.mail.test {hosts} ~all")
    assert "more than 10 lookups" in look(published, "SPF TXT")[3]
    dns.text(place, "v=spf1 ip4:198.51.100.7 ~all")
    assert "lacks `include:_spf.mail.test`" in look(published, "SPF TXT")[3]
    # Not sent from a return path that would fail SPF.
    resend.Emails.send(mail | {"from": f"ada@{published['name']}"})
    (parcel,) = queues.parcels()
    assert (parcel.content.signing, parcel.content.envelope_sender) == (published["name"], None)
    dns.text(place, "v=spf1 include:_spf.mail.test ~all")
    dns.exchange(place, (5, "other.test"), (10, "bounces.mail.test"))
    assert "go to other.test first" in look(published, "SPF MX")[3]


def test_dmarc_of_the_domain_above_and_its_alignment(dns, published, queues, mail):
    name = published["name"]
    sub = resend.Domains.create({"name": f"sub.{name}"})
    dns.text(f"_dmarc.{name}", "v=DMARC1; p=reject; adkim=s; aspf=s")
    looked = resend.Domains.verify(sub["id"])
    assert looked["alignment"] == {
        "policy": "reject", "record": f"_dmarc.{name}", "dkim": True, "spf": False, "subdomains": False,
    }  # fmt: skip
    assert by_record(looked)["DMARC TXT"]["status"] == "verified"
    # The upper domain is strict: it signs for itself, and not for a subdomain that is not there.
    assert resend.Domains.verify(published["id"])["alignment"]["subdomains"] is False
    for sender, signer in ((name, name), (f"sub.{name}", f"sub.{name}"), (f"other.{name}", None)):
        resend.Emails.send(mail | {"from": f"ada@{sender}"})
        (parcel,) = queues.parcels()
        assert parcel.content.signing == signer, sender
    dns.text(f"_dmarc.{name}", "v=DMARC1; p=none", "v=DMARC1; p=reject")
    assert "2 DMARC records" in look(published, "DMARC TXT")[3]


def test_a_dns_that_does_not_answer_changes_nothing(dns, published):
    key = by_record(published)["DKIM rsa"]["name"]
    dns.broken |= {key, f"send.{published['name']}", f"_dmarc.{published['name']}"}
    before = resend.Domains.get(published["id"])
    after = resend.Domains.verify(published["id"])
    assert (after["status"], after["alignment"]) == ("verified", before["alignment"])
    assert by_record(after)["DKIM rsa"]["status"] == "temporary_failure"
    assert "says nothing" in by_record(after)["DKIM rsa"]["problem"]


# Mail


def test_every_way_to_send_says_which_domain_signs(server, caller, published, queues, mail):
    sender = f"Ada <ada@{published['name']}>"
    mine = mail | {"from": sender}
    expected = (published["name"], f"bounces@send.{published['name']}")
    resend.Emails.send(mine)
    resend.Batch.send([mine, mine | {"from": f"ada@below.{published['name']}"}])
    with server.client(caller.token) as client:
        rows = [{"to": f"a{n}@d{n}.test"} for n in range(60)]
        bulk = {"from": sender, "subject": "s", "text": "t", "recipients": rows}
        assert client.post("/emails/bulk", json=bulk).status_code == 202
    template = resend.Templates.create({"name": "t", "html": "<p>", "from": sender, "subject": "s"})
    resend.Templates.publish(template["id"])
    resend.Emails.send({"to": "bob@example.test", "template": {"id": template["id"]}})
    parcels = queues.parcels()
    assert sum(len(parcel.deliveries) for parcel in parcels) == 64
    assert {(parcel.content.signing, parcel.content.envelope_sender) for parcel in parcels} == {expected}
    # What the tracker records is the same message.
    assert {parcel.content.signing for parcel in queues.recorded()} == {published["name"]}


def test_tls_of_a_domain_is_asked_for_by_its_mail(published, queues, mail, caller, server):
    mine = mail | {"from": f"ada@below.{published['name']}"}
    resend.Domains.update({"id": published["id"], "tls": "enforced"})
    assert resend.Domains.get(published["id"])["tls"] == "enforced"
    # A change of something else leaves it.
    resend.Domains.update({"id": published["id"], "custom_return_path": "send"})
    resend.Emails.send(mine)
    resend.Batch.send([mine])
    with server.client(caller.token) as client:
        bulk = {"from": mine["from"], "subject": "s", "text": "t", "recipients": [{"to": "a@b.test"}]}
        assert client.post("/emails/bulk", json=bulk).status_code == 202
    resend.Emails.send(mail)
    assert Counter(one.content.tls for one in queues.parcels()) == {TlsNeed.REQUIRED: 3, None: 1}
    resend.Domains.update({"id": published["id"], "tls": "opportunistic"})
    resend.Emails.send(mine)
    with server.client(caller.token) as client:
        # What a mail asks for itself is not lost.
        assert client.post("/emails", json=mine | {"tls": "required"}).status_code == 200
    assert sorted(str(one.content.tls) for one in queues.parcels()) == ["None", "required"]


def test_a_domain_is_made_with_tls(name, queues, mail):
    made = resend.Domains.create({"name": name, "tls": "enforced"})
    assert made["tls"] == "enforced"
    resend.Emails.send(mail | {"from": f"ada@{name}"})
    (parcel,) = queues.parcels()
    assert (parcel.content.signing, parcel.content.tls) == (name, TlsNeed.REQUIRED)


def test_mail_of_others_is_not_signed(server, new_caller, published, queues, mail):
    with server.client(new_caller().token) as other:
        other.post("/emails", json=mail | {"from": f"ada@{published['name']}"})
    resend.Emails.send(mail)
    assert [(one.content.signing, one.content.envelope_sender) for one in queues.parcels()] == [(None, None)] * 2


def test_webhooks_hear_what_becomes_of_a_domain_and_no_look_that_found_nothing_new(dns, name):
    kinds = ["domain.created", "domain.updated", "domain.deleted"]
    webhook = resend.Webhooks.create({"endpoint": "https://hooks.example.test/", "events": kinds})["id"]
    made = resend.Domains.create({"name": name})
    for _ in range(2):
        resend.Domains.verify(made["id"])
    dns.publish(made["records"])
    for _ in range(2):
        resend.Domains.verify(made["id"])
    resend.Domains.remove(made["id"])
    events = reversed(resend.Webhooks.list_events(webhook)["data"])
    told = [resend.Webhooks.get_event(webhook, event["id"])["payload"] for event in events]
    types = [DomainCreatedEvent, DomainUpdatedEvent, DomainUpdatedEvent, DomainDeletedEvent]
    for payload, kind in zip(told, types, strict=True):
        check(payload, kind)
        assert (payload["data"]["id"], payload["data"]["name"]) == (made["id"], name)
        assert len(payload["data"]["records"]) == len(made["records"])
    assert [payload["data"]["status"] for payload in told] == ["not_started", "pending", "verified", "verified"]


def test_a_deleted_domain_signs_nothing_any_more(published, queues, mail):
    resend.Domains.remove(published["id"])
    resend.Emails.send(mail | {"from": f"ada@{published['name']}"})
    (parcel,) = queues.parcels()
    assert parcel.content.signing is None


def test_other_processes_hear_of_it_within_a_second(
    start, caller, domain_settings, published, queues, mail, wait_until
):
    with start(**domain_settings).client(caller.token) as client:
        later = resend.Domains.create({"name": f"later.{published['name']}"})

        def signed() -> str | None:
            client.post("/emails", json=mail | {"from": f"ada@later.{published['name']}"})
            return queues.parcels()[0].content.signing

        wait_until(lambda: signed() == later["name"], within=3)
        resend.Domains.remove(later["id"])
        wait_until(lambda: signed() == published["name"], within=3)


# Who may send from where


def test_a_key_is_bound_to_a_domain(server, caller, published, mail, monkeypatch):
    made = resend.ApiKeys.create({"name": "shop", "permission": "sending_access", "domain_id": published["id"]})
    monkeypatch.setattr(resend, "api_key", made["token"])
    resend.Emails.send(mail | {"from": f"ada@{published['name']}"})
    for other in ("other.test", f"below.{published['name']}"):
        status, message = refused(resend.Emails.send, mail | {"from": f"ada@{other}"})
        assert status == 403
        assert published["name"] in message
    monkeypatch.setattr(resend, "api_key", caller.token)
    assert refused(resend.ApiKeys.create, {"name": "x", "domain_id": str(uuid4())})[0] == 422
    with server.client(caller.token) as client:
        both = {"name": "x", "domain_id": published["id"], "domains": ["a.test"]}
        assert client.post("/api-keys", json=both).status_code == 422
        full = client.post("/api-keys", json={"name": "y", "domain_id": published["id"]}).json()
    with server.client(full["token"]) as bound:
        assert bound.get(f"/domains/{published['id']}").status_code == 200
        assert bound.post("/domains", json={"name": "elsewhere.test"}).status_code == 403


def test_unverified_domains_may_not_send_where_they_have_to_be_verified(
    start, caller, place, domain_settings, dns, published, queues, mail
):
    name = published["name"]
    with start(**domain_settings, require_verified_domains=True).client(caller.token) as client:
        assert client.post("/emails", json=mail | {"from": f"ada@{name}"}).status_code == 200
        assert client.post("/emails", json=mail | {"from": f"ada@below.{name}"}).status_code == 200
        made = client.post("/domains", json={"name": f"new.{name}"}).json()
        for sender in ("sender.test", f"new.{name}"):
            answer = client.post("/emails", json=mail | {"from": f"ada@{sender}"})
            assert answer.status_code == 403
            assert (answer.json()["name"], sender in answer.json()["message"]) == ("validation_error", True)
        batch = [mail | {"from": f"ada@{name}"}, mail]
        assert client.post("/emails/batch", json=batch).status_code == 403
        tolerant = client.post("/emails/batch", json=batch, headers={"x-batch-validation": "permissive"}).json()
        assert ([one["index"] for one in tolerant["errors"]], len(tolerant["data"])) == ([1], 1)
        bulk = {"from": "a@sender.test", "subject": "s", "text": "t", "recipients": [{"to": "b@c.test"}]}
        assert client.post("/emails/bulk", json=bulk).status_code == 403
        assert client.post("/emails", json=mail | {"scheduled_at": "in 1 hour"}).status_code == 403
        segment, _ = fill(place, caller.tenant, 1)
        broadcast = {"segment_id": str(segment), "from": "a@sender.test", "subject": "s", "text": "t"}
        draft = client.post("/broadcasts", json=broadcast).json()["id"]
        assert client.post(f"/broadcasts/{draft}/send").status_code == 403
        assert client.post("/broadcasts", json=broadcast | {"send": True}).status_code == 403
        assert client.post("/broadcasts", json=broadcast | {"send": True, "from": f"a@{name}"}).status_code == 201
        dns.publish(made["records"])
        assert client.post(f"/domains/{made['id']}/verify").json()["status"] == "verified"
        assert client.post("/emails", json=mail | {"from": f"ada@new.{name}"}).status_code == 200
        # A record that vanishes stops nothing at once.
        dns.remove(by_record(made)["DKIM rsa"]["name"])
        assert client.post(f"/domains/{made['id']}/verify").json()["status"] == "temporary_failure"
        assert client.post("/emails", json=mail | {"from": f"ada@new.{name}"}).status_code == 200
    assert len(queues.parcels()) == 5


def test_without_data_keys_or_token_no_domain_is_made(start, caller, data_keys):
    for changes in ({}, {"internal_token": TOKEN}, {"data_keys": data_keys}):
        with start(**changes).client(caller.token) as client:
            answer = client.post("/domains", json={"name": "x.test"})
            assert (answer.status_code, "MAILWARREN_DATA_KEYS" in answer.json()["message"]) == (422, True)


def test_without_a_bounce_host_there_is_no_return_path(start, caller, domain_settings, dns, queues, mail, name):
    settings = domain_settings | {"bounce_host": ""}
    with start(**settings).client(caller.token) as client:
        refusal = client.post("/domains", json={"name": name, "custom_return_path": "send"})
        assert (refusal.status_code, "MAILWARREN_BOUNCE_HOST" in refusal.json()["message"]) == (422, True)
        made = client.post("/domains", json={"name": name}).json()
        assert {(one["record"], one["type"], one["name"]) for one in made["records"] if one["record"] == "SPF"} == {
            ("SPF", "TXT", name)
        }
        dns.publish(made["records"])
        verified = client.post(f"/domains/{made['id']}/verify").json()
        assert (verified["status"], verified["envelope_sender"]) == ("verified", None)
        client.post("/emails", json=mail | {"from": f"ada@{name}"})
    (parcel,) = queues.parcels()
    assert (parcel.content.signing, parcel.content.envelope_sender) == (name, None)


# What senders get


def test_senders_get_the_keys_that_are_in_the_dns(server, caller, published, place):
    answer = ask_inside(server, caller.tenant, published["name"])
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    keys = decode_keys(answer.content)
    assert (keys.domain, keys.envelope_sender) == (published["name"], f"bounces@send.{published['name']}")
    assert [key.algorithm for key in keys.keys] == [RSA, ED25519]
    assert 60 < keys.fresh_until - time.time() <= 300
    rsa = load_der_private_key(keys.keys[0].private, None)
    assert isinstance(rsa, RSAPrivateKey)
    assert rsa.key_size == 2048
    listed = by_record(published)["DKIM rsa"]
    assert listed["name"] == f"{keys.keys[0].selector}._domainkey.{published['name']}"
    der = rsa.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert listed["value"].endswith(f"p={base64.b64encode(der).decode()}")
    # Nothing in the database signs.
    rows = place.sql("SELECT private FROM domain_keys WHERE tenant = $1", caller.tenant)
    assert len(rows) == 2
    assert all(bytes(row["private"]).startswith(b"gAAAA") for row in rows)
    assert all(key.private[:40] not in bytes(row["private"]) for row in rows for key in keys.keys)


def test_nobody_else_gets_them(server, caller, new_caller, published):
    name = published["name"]
    assert ask_inside(server, caller.tenant, name, token="wrong").status_code == 401
    assert ask_inside(server, caller.tenant, name, token="").status_code == 401
    assert ask_inside(server, new_caller().tenant, name).status_code == 404
    assert ask_inside(server, caller.tenant, "none.test").status_code == 404
    assert ask_inside(server, caller.tenant, "../blobs").status_code in {404, 422}
    resend.Domains.remove(published["id"])
    assert ask_inside(server, caller.tenant, name).status_code == 404


def test_keys_that_no_data_key_decrypts_are_an_outage_and_not_missing(
    start, caller, domain_settings, published, tmp_path
):
    other = tmp_path / "keys"
    other.write_text(new_key())
    answer = ask_inside(start(**domain_settings | {"data_keys": other}), caller.tenant, published["name"])
    assert answer.status_code == 503
    assert "gAAAA" not in answer.text
    # Nor where the operator took the file away.
    without = start(**{name: value for name, value in domain_settings.items() if name != "data_keys"})
    assert ask_inside(without, caller.tenant, published["name"]).status_code == 503
    assert ask_inside(without, caller.tenant, "none.test").status_code == 404
