"""Traffic against small HTTP servers that answer as the API and the sink do."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from mailwarren.devstack.cluster.traffic import Traffic
from mailwarren.devstack.errors import DevstackError


class Api(BaseHTTPRequestHandler):
    """Says yes; every second call is a 503 first, as while pods change."""

    rows: ClassVar[list[dict[str, Any]]] = []
    keys: ClassVar[list[str]] = []
    lost: ClassVar[set[str]] = set()
    refuse: ClassVar[bool] = False

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers["Idempotency-Key"]
        self.keys.append(key)
        if self.refuse:
            return self._answer(422, {"message": "no such field"})
        if self.keys.count(key) == 1 and len(set(self.keys)) == 2:
            return self._answer(503, {"message": "busy"})
        made = [{"id": f"id{len(self.rows) + n}", "to": row["to"]} for n, row in enumerate(body["recipients"])]
        self.rows.extend(made)
        return self._answer(202, {"id": "bulk", "data": made, "errors": []})

    def do_GET(self) -> None:
        if self.path.startswith("/pairs"):
            lines = [
                json.dumps([f"<{r['id']}@sender.test>", r["to"], 1, 0]) for r in self.rows if r["id"] not in self.lost
            ]
            return self._answer(200, "\n".join([*lines, json.dumps(["<other@x>", "a@b", 1, 0])]))
        after = self.path.partition("after=")[2].partition("&")[0]
        start = 0 if not after else next(n for n, r in enumerate(self.rows) if r["id"] == after) + 1
        page = [{"id": r["id"], "to": [r["to"]], "last_event": "delivered"} for r in self.rows[start : start + 100]]
        return self._answer(200, {"has_more": start + 100 < len(self.rows), "data": page})

    def _answer(self, status: int, body: Any) -> None:
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> Iterator[Traffic]:
    for name, value in (("rows", []), ("keys", []), ("lost", set()), ("refuse", False)):
        monkeypatch.setattr(Api, name, value)
    monkeypatch.setattr("mailwarren.devstack.cluster.traffic.time.sleep", lambda _: None)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    yield Traffic(lambda: url, "key", lambda: url)
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_call_is_repeated_with_its_key_and_everything_is_compared(traffic) -> None:
    assert len(traffic.post(250)) == 250
    assert len(Api.keys) == 4
    assert len(set(Api.keys)) == 3
    found = traffic.settle(5)
    assert found.balanced, found
    assert found.doubled == []


def test_a_mail_that_never_came_is_found(traffic) -> None:
    traffic.post(3)
    Api.lost.add("id1")
    assert [promise.email_id for promise in traffic.settle(0).delivered_but_not_at_sink] == ["id1"]


def test_a_final_refusal_is_not_repeated(traffic, monkeypatch) -> None:
    monkeypatch.setattr(Api, "refuse", True)
    with pytest.raises(DevstackError, match=r"422.*no such field"):
        traffic.post(1)
    assert len(Api.keys) == 1


def test_what_goes_wrong_beside_is_raised_by_join(traffic, monkeypatch) -> None:
    monkeypatch.setattr(Api, "refuse", True)
    with pytest.raises(DevstackError, match="422"):
        traffic.post_beside(1, pause=0).join()
