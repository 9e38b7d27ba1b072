"""Opens and clicks through the whole system and the official SDK: from the mail that arrived to its timeline."""

import email
import email.policy
import json
import re
import time
from collections.abc import Iterator
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import resend
import standardwebhooks
from resend.webhooks._webhook_event import EmailClickedEvent, EmailOpenedEvent
from sdk_shapes import check

from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e

PUBLIC = "https://links.example.org"
LINKS = {"MAILWARREN_PUBLIC_URL": PUBLIC, "MAILWARREN_LINK_KEYS": "secret-of-the-system-under-test"}
URL = "https://shop.test/basket?a=1&b=2"
HTML = (
    '<p><a class="x" href="https://shop.test/basket?a=1&amp;b=2">Basket</a>'
    ' <a href="mailto:help@shop.test">Help</a> <a data-no-track href="https://shop.test/terms">Terms</a></p>'
)
BROWSER = {
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/130.0.0.0 Safari/537.36",
    "accept": "text/html,image/*",
}


class Hook(ThreadingHTTPServer):
    """A tenant's server: keeps what it gets and verifies it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.secret = ""
        self.got: list[dict[str, Any]] = []
        Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [payload for payload in self.got if payload["type"] == kind]


class Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        standardwebhooks.Webhook(self.server.secret).verify(body, headers)
        self.server.got.append(json.loads(body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as made:
        yield made
        made.shutdown()


def html_of(system: System, to: str) -> str:
    assert system.sink
    (found,) = system.sink.messages(to=to)
    part = email.message_from_bytes(system.sink.raw(found["n"]), policy=email.policy.default).get_body(("html",))
    assert part is not None
    return str(part.get_content())


def addresses(html: str, attribute: str) -> list[str]:
    return [unescape(value) for value in re.findall(rf'{attribute}="([^"]+)"', html)]


def fetch(system: System, address: str, **headers: str) -> httpx.Response:
    """As a browser does, by whatever name it reaches the API."""
    assert system.api
    assert address.startswith(f"{PUBLIC}/t/")
    place = system.api.base_url.copy_with(path=urlsplit(address).path)
    return httpx.get(place, headers=BROWSER | headers)


def test_opens_and_clicks_reach_the_timeline_and_the_webhook(
    system: System, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    system.start_sink()
    system.start_ingest(wait=False, **LINKS)
    system.start_tracker(wait=False)
    system.start_sender("sender0", wait=False)
    system.wait_ready()
    system.start_webhooks()
    assert system.api
    monkeypatch.setattr(resend, "api_url", str(system.api.base_url).rstrip("/"))
    monkeypatch.setattr(resend, "api_key", system.api.headers["authorization"].removeprefix("Bearer "))
    made = resend.Webhooks.create({"endpoint": hook.url, "events": ["email.opened", "email.clicked"]})
    hook.secret = made["signing_secret"]

    params: Any = {
        "from": "Ada <ada@sender.test>", "to": "bob@d1.test", "subject": "News", "html": HTML,
        "open_tracking": True, "click_tracking": True,
    }  # fmt: skip
    sent = resend.Emails.send(params)["id"]
    plain = resend.Emails.send({**params, "to": "eve@d1.test", "open_tracking": False, "click_tracking": False})["id"]
    found = system.settle([system.promise(sent, "bob@d1.test"), system.promise(plain, "eve@d1.test")])
    assert found.balanced, str(found)
    assert html_of(system, "eve@d1.test").strip() == HTML

    html = html_of(system, "bob@d1.test")
    link, help_link, terms = addresses(html, "href")
    (pixel,) = addresses(html, "src")
    assert (help_link, terms) == ("mailto:help@shop.test", "https://shop.test/terms")
    untracked = html.replace(link, "https://shop.test/basket?a=1&amp;b=2")
    assert re.sub(r"<img [^>]*>", "", untracked).strip() == HTML

    # A scanner.
    assert fetch(system, link, **{"user-agent": "Barracuda Sentinel (EE)"}).headers["location"] == URL
    # A reader, who does not come within seconds of the delivery.
    time.sleep(3.2)
    assert fetch(system, pixel).headers["content-type"] == "image/gif"
    assert fetch(system, link).headers["location"] == URL

    wait_for(lambda: len(hook.got) == 2, 30, "what the webhook is told")
    (opened,), (clicked,) = hook.events("email.opened"), hook.events("email.clicked")
    check(opened, EmailOpenedEvent)
    check(clicked, EmailClickedEvent)
    assert (opened["data"]["email_id"], opened["data"]["to"]) == (sent, ["bob@d1.test"])
    assert clicked["data"]["click"]["link"] == URL
    assert clicked["data"]["click"]["ipAddress"] == ""

    assert resend.Emails.get(sent)["last_event"] == "clicked"
    assert resend.Emails.get(plain)["last_event"] == "delivered"
    timeline = system.api.get(f"/emails/{sent}/timeline").json()["data"]
    hits = [(one["kind"], one["flag"]) for one in timeline if one["kind"] in {"opened", "clicked"}]
    assert hits == [("clicked", "bot"), ("opened", None), ("clicked", None)]
