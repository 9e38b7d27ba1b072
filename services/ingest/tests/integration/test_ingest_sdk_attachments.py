"""Attachments through the official SDK, sync and async, from the call to the blob that a sender fetches."""

import base64
import hashlib
import http.server
import json
import threading
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
import resend
from resend.emails._attachments import Attachments
from resend.emails._received_email import EmailAttachmentDetails
from resend.exceptions import ResendError, ValidationError
from sdk_shapes import check

from mailwarren.contracts.parcel import Syntax

TOKEN = "internal-token-of-a-test"
OCTETS = bytes(range(256)) * 20
PDF = {"filename": "Bericht März.pdf", "content": base64.b64encode(OCTETS).decode()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("blobs")


@pytest.fixture(scope="module")
def server(place, folder):
    from conftest import Server

    running = Server(
        place.settings(blob_url=folder.as_uri(), internal_token=TOKEN, remote_private=True, max_attachments_size=2**20)
    )
    yield running
    running.stop()


@pytest.fixture(scope="module")
def strict(place, folder):
    """With small bodies, room for one large one at a time, and no private addresses."""
    from conftest import Server

    running = Server(place.settings(blob_url=folder.as_uri(), internal_token=TOKEN, max_body=1024, large_bodies=2**20))
    yield running
    running.stop()


@pytest.fixture(autouse=True)
def sdk(server, caller, monkeypatch):
    monkeypatch.setattr(resend, "api_url", server.url)
    monkeypatch.setattr(resend, "api_key", caller.token)


@pytest.fixture
async def inside(server):
    """What a sender has: the internal port with its token."""
    transport = httpx.ASGITransport(server.api.internal)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://inside", headers={"Authorization": f"Bearer {TOKEN}"}
    ) as client:
        yield client


@pytest.fixture
def elsewhere():
    """A web server with one file, which counts who came."""
    came = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            came.append(self.path)
            self.send_response(200 if self.path == "/logo.png" else 404)
            self.send_header("Content-Type", "image/png")
            self.send_header("Content-Length", str(len(OCTETS)))
            self.end_headers()
            self.wfile.write(OCTETS)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", came
        running.shutdown()


def the_attachment(queues):
    (parcel,) = queues.parcels()
    (attachment,) = parcel.content.attachments
    return attachment


async def test_from_the_call_to_the_senders(mail, queues, inside):
    sent = resend.Emails.send(mail | {"attachments": [PDF]})
    attachment = the_attachment(queues)
    assert (attachment.filename, attachment.content_type) == ("Bericht März.pdf", "application/pdf")
    answer = await inside.get(f"/internal/blobs/{attachment.digest}")
    assert answer.content == OCTETS
    assert answer.headers["etag"] == f'"{hashlib.sha256(OCTETS).hexdigest()}"'
    listed = resend.Emails.Attachments.list(sent["id"])
    check(listed, Attachments.ListResponse)
    assert [one["size"] for one in listed["data"]] == [len(OCTETS)]
    one = resend.Emails.Attachments.get(sent["id"], listed["data"][0]["id"])
    check(one, EmailAttachmentDetails)
    downloaded = httpx.get(one["download_url"])
    assert downloaded.content == OCTETS
    assert downloaded.headers["content-type"] == "application/pdf"
    assert "M%C3%A4rz" in downloaded.headers["content-disposition"]
    assert downloaded.headers["x-content-type-options"] == "nosniff"


async def test_async_with_an_inline_picture_and_a_list_of_bytes(mail, queues):
    picture = {"filename": "l.png", "content": list(OCTETS), "content_id": "logo"}
    sent = await resend.Emails.send_async(
        mail | {"html": '<img src="cid:logo">', "attachments": [picture, PDF | {"inline_content_id": "pdf"}]}
    )
    (parcel,) = queues.parcels()
    assert [one.content_id for one in parcel.content.attachments] == ["logo", "pdf"]
    listed = await resend.Emails.Attachments.list_async(sent["id"], {"limit": 1})
    check(listed, Attachments.ListResponse)
    assert listed["has_more"]
    first = listed["data"][0]
    assert (first["content_id"], first["content_disposition"]) == ("logo", "inline")
    rest = await resend.Emails.Attachments.list_async(sent["id"], {"after": first["id"]})
    assert [one["content_id"] for one in rest["data"]] == ["pdf"]
    assert not rest["has_more"]
    one = await resend.Emails.Attachments.get_async(sent["id"], first["id"])
    assert httpx.get(one["download_url"]).content == OCTETS


def test_a_remote_file(mail, queues, elsewhere):
    base, came = elsewhere
    resend.Emails.send(mail | {"attachments": [{"path": f"{base}/logo.png"}]})
    attachment = the_attachment(queues)
    assert (attachment.filename, attachment.content_type, attachment.size) == ("logo.png", "image/png", len(OCTETS))
    assert came == ["/logo.png"]


def test_a_repeat_gets_its_answer_without_fetching_again(mail, queues, elsewhere):
    base, came = elsewhere
    call = mail | {"attachments": [{"path": f"{base}/logo.png"}]}
    key = {"idempotency_key": str(uuid4())}
    assert resend.Emails.send(call, key)["id"] == resend.Emails.send(call, key)["id"]
    assert len(came) == len(queues.parcels()) == 1
    with pytest.raises(ResendError) as caught:
        resend.Emails.send(call | {"attachments": [{"path": f"{base}/other.png"}]}, key)
    assert caught.value.code == 409


def test_a_remote_file_that_is_not_there(mail, queues, elsewhere):
    with pytest.raises(ValidationError, match=r"attachments\[0\]\.path.*404"):
        resend.Emails.send(mail | {"attachments": [{"path": f"{elsewhere[0]}/nothing"}]})
    assert queues.parcels() == []


def test_a_private_address_is_refused_unless_the_operator_allows_it(strict, mail, caller, elsewhere):
    with strict.client(caller.token) as client:
        answer = client.post("/emails", json=mail | {"attachments": [{"path": f"{elsewhere[0]}/logo.png"}]})
    assert answer.status_code == 422
    assert "no public address" in answer.json()["message"]
    assert elsewhere[1] == []


def test_the_same_octets_are_stored_once(mail, place, folder):
    octets = uuid4().bytes * 100
    for name in ("a.txt", "b.txt"):
        resend.Emails.send(mail | {"attachments": [{"filename": name, "content": base64.b64encode(octets).decode()}]})
    digest = hashlib.sha256(octets)
    assert (folder / digest.hexdigest()[:2] / digest.hexdigest()).read_bytes() == octets
    (row,) = place.sql("SELECT size, stored_at FROM blobs WHERE digest = $1", digest.digest())
    assert (row["size"], row["stored_at"] is not None) == (1600, True)


def test_too_much_together(mail, queues):
    half = {"filename": "a.bin", "content": base64.b64encode(bytes(500_000)).decode()}
    with pytest.raises(ValidationError, match="1048576 bytes together"):
        resend.Emails.send(mail | {"attachments": [half, half | {"filename": "b.bin"}]})
    assert queues.parcels() == []


def test_a_large_body_is_for_attachments_only(strict, mail, caller):
    with strict.client(caller.token) as client:
        assert client.post("/emails", json=mail | {"attachments": [PDF]}).status_code == 200
        assert client.post("/emails/batch", json=[mail | {"text": "x" * 2000}]).status_code == 413


def test_a_large_body_waits_for_memory(strict, mail, caller):
    size = 600_000
    body = json.dumps(
        mail | {"attachments": [{"filename": "a.bin", "content": base64.b64encode(bytes(size)).decode()}]}
    )
    answers = []

    def post():
        with strict.client(caller.token) as client:
            answers.append(client.post("/emails", content=body).status_code)

    threads = [threading.Thread(target=post) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == [200] * 4


def test_a_mail_with_a_template_has_attachments_too(mail, queues):
    variable = {"key": "NAME", "type": "string"}
    made = resend.Templates.create({"name": "order", "html": "<p>{{{NAME}}}</p>", "variables": [variable]})
    resend.Templates.publish(made["id"])
    wanted = {name: mail[name] for name in ("from", "to", "subject")}
    resend.Emails.send(
        wanted | {"template": {"id": made["id"], "variables": {"NAME": "Bob"}}, "attachments": [PDF]},
        {"idempotency_key": str(uuid4())},
    )
    (parcel,) = queues.parcels()
    assert (parcel.content.syntax, parcel.deliveries[0].variables) == (Syntax.TEMPLATE, {"NAME": "Bob"})
    assert [one.filename for one in parcel.content.attachments] == [PDF["filename"]]


def test_a_batch_has_no_attachments(mail, queues):
    with pytest.raises(ValidationError, match="not possible in a batch"):
        resend.Batch.send([mail | {"attachments": [PDF]}])
    assert queues.parcels() == []


def test_no_blob_store_no_attachments(start, mail, caller):
    bare = start()
    with bare.client(caller.token) as client:
        answer = client.post("/emails", json=mail | {"attachments": [PDF]})
        assert answer.status_code == 422
        assert "no blob store" in answer.json()["message"]
        # As some SDKs say that there are none.
        assert client.post("/emails", json=mail | {"attachments": []}).status_code == 200


def test_a_blob_store_that_is_away(start, tmp_path, mail, caller, queues):
    at = tmp_path / "blobs"
    away = start(blob_url=at.as_uri(), internal_token=TOKEN)
    at.rmdir()
    at.write_text("no folder any more")
    with away.client(caller.token) as client:
        octets = base64.b64encode(uuid4().bytes).decode()
        answer = client.post("/emails", json=mail | {"attachments": [{"filename": "a", "content": octets}]})
    assert answer.status_code == 503
    assert queues.parcels() == []


def test_other_peoples_attachments(mail, server, new_caller):
    sent = resend.Emails.send(mail | {"attachments": [PDF]})
    one = resend.Emails.Attachments.list(sent["id"])["data"][0]
    with server.client(new_caller().token) as stranger:
        assert stranger.get(f"/emails/{sent['id']}/attachments").status_code == 404
        assert stranger.get(f"/emails/{sent['id']}/attachments/{one['id']}").status_code == 404
        assert stranger.delete(f"/emails/{sent['id']}/attachments/{one['id']}").status_code == 404


def test_links_hold_for_what_they_were_made_for(mail, server):
    sent = resend.Emails.send(mail | {"attachments": [PDF, PDF | {"filename": "b.pdf"}]})
    first, second = (one["download_url"] for one in resend.Emails.Attachments.list(sent["id"])["data"])
    assert httpx.get(first).status_code == 200
    path, query = first.split("?")
    expires, signature = query.split("&")
    for wrong in (
        path,
        f"{path}?{expires}&signature=00",
        f"{path}?expires=99999999999&{signature}",
        f"{second.split('?')[0]}?{query}",
        f"{path}?expires=x&signature=%C3%BC",
        f"{server.url}/emails/{uuid4()}/attachments/{uuid4()}/file?{query}",
    ):
        answer = httpx.get(wrong)
        assert (answer.status_code, answer.json()["name"]) == (403, "validation_error"), wrong


def test_deleting_waits_for_the_end_of_the_mail(mail, client, place, caller):
    sent = resend.Emails.send(mail | {"attachments": [PDF]})
    one = resend.Emails.Attachments.list(sent["id"])["data"][0]
    at = f"/emails/{sent['id']}/attachments/{one['id']}"
    assert client.delete(at).status_code == 422
    place.sql(
        'INSERT INTO emails (id, tenant, created_at, lane, partition, content, sender, subject, "to", cc, bcc, '
        "reply_to, tags, metadata, message_id, on_unknown) VALUES ($1, $2, now(), 'normal', 1, '\\x00', "
        "'a@sender.test', 'x', '{}', '{}', '{}', '{}', '[]', '{}', 'm', 'resend')",
        sent["id"], caller.tenant,
    )  # fmt: skip
    place.sql(
        "INSERT INTO deliveries (id, email_id, tenant, address, lane, state, updated_at, ended_at) "
        "VALUES (gen_random_uuid(), $1, $2, 'bob@example.test', 'normal', 'delivered', now(), now())",
        sent["id"], caller.tenant,
    )  # fmt: skip
    assert client.delete(at).json() == {"object": "attachment", "id": one["id"], "deleted": True}
    assert client.get(at).status_code == 404
    assert httpx.get(one["download_url"]).status_code == 403


def test_an_email_that_does_not_exist(client):
    assert client.get(f"/emails/{uuid4()}/attachments").status_code == 404


async def test_the_internal_port_is_for_those_with_the_token(inside):
    at = f"/internal/blobs/{'0' * 64}"
    assert (await inside.get(at)).status_code == 404
    for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Authorization": b"Bearer \xff"}):
        inside.headers.pop("Authorization", None)
        assert (await inside.get(at, headers=wrong)).status_code == 401
    assert (await inside.get("/docs")).status_code == 404


async def test_the_internal_port_reads_blobs_and_nothing_else(inside):
    for path in ("/internal/blobs/..%2F..%2Fetc%2Fpasswd", "/internal/blobs/abc", f"/internal/blobs/{'A' * 64}"):
        assert (await inside.get(path)).status_code in {404, 422}
    digest = hashlib.sha256(OCTETS).hexdigest()
    assert (await inside.get(f"/internal/blobs/{digest}", headers={"If-None-Match": f'"{digest}"'})).status_code == 304


def test_links_name_the_host_that_the_caller_named(mail, client):
    sent = resend.Emails.send(mail | {"attachments": [PDF]})
    answer = client.get(f"/emails/{sent['id']}/attachments", headers={"Host": "api.test", "X-Forwarded-Proto": "https"})
    assert urlsplit(answer.json()["data"][0]["download_url"])[:2] == ("https", "api.test")
