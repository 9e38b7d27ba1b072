"""SDKs that are not written in Python: their requests as they stand on the wire, byte for byte in path and body."""

import http.client
import json
import urllib.parse

import pytest

NODE = {
    "User-Agent": "resend-node:6.38.0",
    "Content-Type": "application/json",
    "Accept": "*/*",
    "sec-fetch-mode": "cors",
}
PHP = {"User-Agent": "resend-php/1.2.0", "Content-Type": "application/json"}
RUBY = {"User-Agent": "resend-ruby:1.0.0", "Content-Type": "application/json", "Accept": "application/json"}
GO = {"User-Agent": "resend-go/3.1.0", "Content-Type": "application/json", "Accept": "application/json"}
RUST = {"User-Agent": "resend-rs/0.20.0", "Content-Type": "application/json"}
DOTNET = {
    "User-Agent": "resend-sdk/0.2.0.0 dotnet/8.0.0", "Accept": "application/json",
    "Content-Type": "application/json; charset=utf-8",
}  # fmt: skip
MAIL = b'{"from":"Ada <ada@sender.test>","to":["bob@example.test"],"subject":"Hello","html":"<p>Hi<\\/p>"}'


@pytest.fixture
def ask(server, caller):
    """Sends a request whose target nobody tidies up, as httpx would; an iterable body goes in chunks."""
    place = urllib.parse.urlsplit(server.url)

    def send(method, target, headers, body=None, token=caller.token):
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=10)
        try:
            connection.request(method, target, body, {"Authorization": f"Bearer {token}"} | headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    return send


@pytest.mark.parametrize(
    ("headers", "target", "body"),
    [
        (NODE, "/v1/emails", MAIL),
        (NODE, "/v1//emails", MAIL),  # base URL http://host/v1/
        (NODE, "//emails", MAIL),  # base URL http://host/
        (PHP, "/v1//emails", MAIL),
        (RUBY, "/v1/emails", MAIL),  # base URL http://host/v1/
        (GO, "/emails", MAIL + b"\n"),  # base URL http://host/v1
        (RUST, "/emails", MAIL),  # whatever path the base URL has
        (DOTNET, "/emails", [MAIL]),  # the same, in chunks
    ],
    ids=lambda value: value if isinstance(value, str) else value["User-Agent"][:11] if isinstance(value, dict) else "",
)
def test_a_mail_is_sent_however_the_base_url_and_the_path_were_joined(ask, queues, headers, target, body):
    status, answer = ask("POST", target, headers, body)
    assert status == 200
    [parcel] = queues.parcels()
    assert str(parcel.deliveries[0].email_id) == answer["id"]
    assert parcel.content.html == "<p>Hi</p>"


@pytest.mark.parametrize("prefix", ["/v1", "", "/v1/", "/"])
def test_every_path_below_has_its_endpoint_under_each_base_url(ask, caller, prefix):
    assert ask("POST", f"{prefix}/emails/batch", RUST, b"[" + MAIL + b"]")[0] == 200
    assert ask("GET", f"{prefix}/emails?limit=1", RUST)[1]["object"] == "list"
    assert ask("POST", f"{prefix}/emails/{caller.key}/cancel", PHP, b"{}")[1]["name"] == "not_found"
    assert ask("GET", f"{prefix}/api-keys", RUBY)[1]["data"][0]["id"] == str(caller.key)
    assert ask("GET", f"{prefix}/api-keys", RUBY, token="mw_nobody")[0] == 403
    assert ask("GET", f"{prefix}/domains", NODE)[1]["data"] == []
    assert ask("GET", f"{prefix}/webhooks", NODE)[1]["data"] == []
    metrics = ask("GET", f"{prefix}/emails/metrics?metrics=sent,bounced&dimensions=period%2Cdomain", NODE)[1]
    assert (metrics["object"], metrics["totals"], metrics["data"]) == ("metrics", {"sent": 0, "bounced": 0}, [])
    assert ask("GET", f"{prefix}/logs?limit=1", NODE)[1]["object"] == "list"
    assert ask("GET", f"{prefix}/inboxes", NODE)[0] == 404


def test_node_leaves_out_what_is_undefined_and_sends_null(ask, queues):
    body = (
        b'{"bcc":["eve@example.test"],"cc":"dan@example.test","from":"Ada <ada@sender.test>","headers":{"X-Entity-'
        b'Ref-ID":"1"},"html":"<b>x</b>","reply_to":"r@sender.test","subject":"Hi","tags":[{"name":"category","value":'
        b'"welcome"}],"text":"Hello","to":["bob@example.test","Carol <carol@example.test>"]}'
    )
    assert ask("POST", "/v1/emails", NODE, body)[0] == 200
    [parcel] = queues.parcels()
    assert len(parcel.deliveries) == 4
    assert (parcel.content.reply_to, parcel.content.headers) == (("r@sender.test",), {"X-Entity-Ref-ID": "1"})
    body = (
        b'{"cc":null,"from":"Ada <ada@sender.test>","headers":null,"html":null,"reply_to":null,"subject":"Hi",'
        b'"tags":null,"text":"Hello","to":"bob@example.test","topic_id":null}'
    )
    assert ask("POST", "/v1/emails", NODE, body)[0] == 200
    assert len(queues.parcels()) == 1


def test_laravels_transport_over_the_php_sdk(ask, queues):
    body = (
        b'{"from":"Ada <ada@sender.test>","to":["bob@example.test"],"cc":[],"bcc":[],"reply_to":[],"headers":[],'
        b'"subject":"L","html":"<p>Hi<\\/p>","text":null,"attachments":%s}'
    )
    assert ask("POST", "/v1/emails", PHP, body % b"[]")[0] == 200
    assert queues.parcels()[0].content.headers == {}
    status, answer = ask("POST", "/v1/emails", PHP, body % b'[{"content":"aGk=","filename":"a.txt"}]')
    assert (status, answer["name"]) == (422, "validation_error")
    assert "no blob store" in answer["message"]
    assert queues.parcels() == []


def test_an_endpoint_that_does_not_exist_is_named(ask):
    status, answer = ask("GET", "/v1/emails/receiving", NODE)
    assert (status, answer["name"]) == (422, "invalid_parameter")
    assert "`receiving` is none, nor is it an endpoint here" in answer["message"]


def test_api_keys_are_listed_whole_to_sdks_that_cannot_ask_for_a_page(ask, caller, new_caller):
    for _ in range(20):
        new_caller(tenant=caller.tenant)
    answer = ask("GET", "/api-keys", DOTNET)[1]
    assert (len(answer["data"]), answer["has_more"]) == (21, False)
    page = ask("GET", "/v1/api-keys?limit=20", NODE)[1]
    assert (len(page["data"]), page["has_more"]) == (20, True)
    rest = ask("GET", f"/v1/api-keys?after={page['data'][-1]['id']}", NODE)[1]
    assert [key["id"] for key in rest["data"]] == [answer["data"][-1]["id"]]
