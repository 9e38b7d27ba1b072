"""The user whose server is told what happens: every request is checked, and how late it comes is measured."""

import os
import socket
import time
from typing import Any

import gevent
import msgspec
from gevent.pywsgi import WSGIServer
from locust import constant, task
from locust.exception import StopUser

from mailwarren.load.plan import PREFIX, WEIGHTS
from mailwarren.load.webhook import Forged, read_request
from scenarios.asking import Asker
from scenarios.session import session

EVENTS = ("email.sent", "email.delivered", "email.delivery_delayed", "email.bounced", "email.failed")
MOST = 256 * 1024


class WebhookReceiver(Asker):
    """An application's server, with a webhook of its own.

    It listens where ``MAILWARREN_LOAD_RECEIVER`` says (127.0.0.1), so the system has to allow private addresses.
    """

    weight = WEIGHTS["WebhookReceiver"]
    wait_time = constant(1)

    def on_start(self) -> None:
        """Listen, then ask to be told."""
        self._seen: set[str] = set()
        self._secret, self._webhook = "", ""
        host = os.environ.get(f"{PREFIX}RECEIVER", "127.0.0.1")
        listener = socket.create_server((host, 0))
        listener.setblocking(False)
        self._server = WSGIServer(listener, self._receive, log=None, error_log=None)
        self._server.start()
        endpoint = f"http://{host}:{listener.getsockname()[1]}/hook"
        made = self.ask("POST", "/webhooks", "/webhooks", msgspec.json.encode({"endpoint": endpoint, "events": EVENTS}))
        if made is None:
            raise StopUser
        self._webhook, self._secret = made["id"], made["signing_secret"]

    def on_stop(self) -> None:
        """What comes later finds nobody: the webhook is deleted before its server ends."""
        if self._webhook:
            self.ask("DELETE", f"/webhooks/{self._webhook}", "/webhooks/{id}")
        self._server.stop(timeout=1)

    @task
    def listen(self) -> None:
        """It only listens."""
        if session.ending:
            raise StopUser
        gevent.sleep(0.5)

    def _receive(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read(MOST)
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        try:
            told = read_request(headers, body, self._secret, time.time())
        except Forged as error:
            self.note("webhook", "refused", 0.0, str(error))
            start_response("400 Bad Request", [("Content-Length", "0")])
            return []
        # At least once: the same event may come again, under the same id.
        self.note("webhook", "again" if told.id in self._seen else told.type, max(0.0, told.age))
        self._seen.add(told.id)
        start_response("204 No Content", [])
        return []
