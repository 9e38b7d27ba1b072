"""The user that writes to a list: its contacts come by an import, and each broadcast is followed to its last mail."""

import time
from typing import Any, ClassVar
from urllib.parse import urlencode
from uuid import UUID

import gevent
import msgspec
from locust import task
from locust.exception import StopUser

from mailwarren.load.lists import broadcast_body, csv_file, missing_from
from mailwarren.load.plan import LIST, PATIENCE, WEIGHTS
from scenarios.asking import Asker
from scenarios.session import session

PAGE = 100
_LOOK_EVERY = 0.2
_IMPORT_WITHIN = 120.0
_OPEN = frozenset({"queued", "in_progress"})


class Broadcaster(Asker):
    """A list of its own, and one broadcast after another to it."""

    weight = WEIGHTS["Broadcaster"]
    pause: ClassVar[tuple[float, float]] = (1.0, 3.0)

    def wait_time(self) -> float:
        """A person's, who looks at the result."""
        return session.rng.uniform(*self.pause)

    def on_start(self) -> None:
        """Import the list; without it there is nothing to do."""
        self._people = {one.address.lower(): one for one in session.domains.people(min(session.plan.most, LIST))}
        segment = self.ask("POST", "/segments", "/segments", msgspec.json.encode({"name": session.key()}))
        if segment is None:
            raise StopUser
        self._segment = segment["id"]
        query = urlencode({"on_conflict": "upsert", "segments": msgspec.json.encode([{"id": self._segment}])})
        begun = time.monotonic()
        path, file = f"/contacts/imports?{query}", csv_file(self._people.values())
        made = self.ask("POST", path, "/contacts/imports", file, csv=True)
        if made is None:
            raise StopUser
        while (found := self.ask("GET", f"/contacts/imports/{made['id']}", "/contacts/imports/{id}")) is not None:
            if found["status"] not in _OPEN:
                wrong = None if found["status"] == "completed" and not found["counts"]["failed"] else str(found)[:300]
                self.note("import", f"upload→{found['status']}", time.monotonic() - begun, wrong)
                if wrong is None:
                    return
                break
            if session.ending or time.monotonic() > begun + _IMPORT_WITHIN:
                self.note("import", "without an end", time.monotonic() - begun, str(found)[:300])
                break
            gevent.sleep(_LOOK_EVERY)
        raise StopUser

    @task
    def broadcast(self) -> None:
        """One, from its draft to the last of its mails in the API's list."""
        if session.ending:
            raise StopUser
        body = msgspec.json.encode(broadcast_body(self._segment, session.plan.run))
        draft = self.ask("POST", "/broadcasts", "/broadcasts", body)
        if draft is None:
            return
        ident, known, reason = draft["id"], {}, "the broadcast was not sent"
        begun = time.monotonic()
        try:
            if not self._send(ident):
                return
            state = self._followed(ident, begun)
            reason = f"the broadcast is {state}, and has no email to it"
            known = self._emails(ident)
        finally:
            for address in self._people:
                if address in known:
                    session.accepted(known[address], address, "bulk")
                else:
                    session.unanswered(address, "bulk", reason)

    def _send(self, ident: str) -> bool:
        if self.ask("POST", f"/broadcasts/{ident}/send", "/broadcasts/{id}/send", b"{}") is not None:
            return True
        # An answer may have been lost: the next try finds no draft any more.
        found = self.ask("GET", f"/broadcasts/{ident}", "/broadcasts/{id}")
        return found is not None and found["status"] != "draft"

    def _followed(self, ident: str, begun: float) -> str:
        """Its state once nothing more is published."""
        state = "unknown"
        while time.monotonic() < min(session.ended_at, begun + _IMPORT_WITHIN) + PATIENCE:
            found = self.ask("GET", f"/broadcasts/{ident}", "/broadcasts/{id}")
            if found is None:
                break
            state = found["status"]
            if state not in {"queued", "sending", "scheduled"}:
                wrong = None if state == "sent" else f"it is {state}"
                self.note("broadcast", f"send→{state}", time.monotonic() - begun, wrong)
                break
            gevent.sleep(_LOOK_EVERY)
        return state

    def _emails(self, ident: str) -> dict[str, UUID]:
        """The ids of its emails by address, once every one is recorded; what there is when that takes too long."""
        begun = time.monotonic()
        while True:
            known = self._listed(ident)
            if not missing_from(known, self._people) or time.monotonic() > min(begun, session.ended_at) + PATIENCE:
                return known
            gevent.sleep(1.0)

    def _listed(self, ident: str) -> dict[str, UUID]:
        known: dict[str, UUID] = {}
        query: dict[str, Any] = {"broadcast_id": ident, "limit": PAGE}
        while True:
            page = self.ask("GET", f"/emails?{urlencode(query)}", "/emails?broadcast_id")
            if page is None:
                return known
            for one in page["data"]:
                address = one["to"][0].lower()
                if address in known:
                    self.note("check", "/v1/emails?broadcast_id", 0.0, f"two emails of one broadcast to {address}")
                known[address] = UUID(one["id"])
            if not page["has_more"]:
                return known
            query["after"] = page["data"][-1]["id"]
