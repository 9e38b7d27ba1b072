"""Mails through an API, and what became of each: the API's yes, the ledger and the sink, held against each other.

Only HTTP: it works through ``kubectl port-forward`` as well as beside the containers. A call is repeated with its
Idempotency-Key until it is answered, so that a forwarded port that goes away makes no second mail.
"""

import threading
import time
from collections.abc import Callable
from uuid import uuid4

import httpx

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.harness.counts import Disagreement, Promise, SinkPair, compare
from mailwarren.devstack.harness.sink import SinkWitness

CALL = 100
"""Recipients of a call."""
PATIENCE = 120.0
"""Seconds until a call that is not answered has failed."""
DOMAIN = "sender.test"
_PAGE = 100
_PAUSE = 1.0


class Traffic:
    """One run of mails.

    Args:
        api_url: where the API is now, ending in ``/v1``; asked before every call.
        api_key: of a key with full access.
        sink_url: where the sink's HTTP side is now.
    """

    def __init__(self, api_url: Callable[[], str], api_key: str, sink_url: Callable[[], str]) -> None:
        self._api_url, self._sink_url = api_url, sink_url
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._run = uuid4().hex[:8]
        self.promises: list[Promise] = []

    def post(self, count: int, lane: Lane = Lane.BULK, *, pause: float = 0.0) -> list[Promise]:
        """Sends so many mails to addresses that nobody had before; returns what the API said yes to.

        Raises:
            DevstackError: a call got no yes within its patience, or one for fewer recipients.
        """
        made: list[Promise] = []
        while len(made) < count:
            first = len(self.promises)
            size = min(CALL, count - len(made))
            # Several domains, so that several shards have work.
            addresses = [f"{self._run}.{first + n}@d{(first + n) % 23}.example" for n in range(size)]
            promised = self._call(addresses, lane)
            self.promises += promised
            made += promised
            time.sleep(pause)
        return made

    def post_beside(self, count: int, *, pause: float) -> "Posting":
        """The same beside what the caller does; ``join`` of the result ends it."""
        return Posting(lambda: self.post(count, pause=pause))

    def settle(self, timeout: float) -> Disagreement:
        """Waits until everything promised so far has an end; how API, ledger and sink compare then."""
        end = time.monotonic() + timeout
        found = self.compare()
        while (found.missing_rows or found.without_end) and time.monotonic() < end:
            time.sleep(_PAUSE)
            found = self.compare()
        return found

    def compare(self) -> Disagreement:
        """As it is now. What others sent to the sink is left out."""
        ours = {promise.message_id for promise in self.promises}
        pairs = {key: pair for key, pair in self._pairs().items() if key[0] in ours}
        return compare(self.promises, self._states(), pairs)

    def _call(self, addresses: list[str], lane: Lane) -> list[Promise]:
        body = {
            "from": f"Ada <ada@{DOMAIN}>",
            "subject": "Hello {{ name }}",
            "text": "Hello {{ name }}, this is yours alone.",
            "priority": lane.value,
            "recipients": [{"to": address, "variables": {"name": address[:12]}} for address in addresses],
        }
        answer = self._ask("POST", "/emails/bulk", json=body, headers={"Idempotency-Key": uuid4().hex})
        rows = answer.json()["data"]
        if len(rows) != len(addresses):
            raise DevstackError(f"the API said yes to {len(rows)} of {len(addresses)} mails: {answer.text[:300]}")
        return [Promise(row["id"], row["to"], f"{row['id']}@{DOMAIN}") for row in rows]

    def _states(self) -> dict[tuple[str, str], str]:
        states: dict[tuple[str, str], str] = {}
        wanted = {promise.email_id for promise in self.promises}
        query = {"limit": str(_PAGE)}
        while wanted - {email for email, _ in states}:
            page = self._ask("GET", "/emails", params=query).json()
            states |= {(row["id"], row["to"][0]): _state(row["last_event"]) for row in page["data"]}
            if not page["has_more"]:
                break
            query["after"] = page["data"][-1]["id"]
        return states

    def _pairs(self) -> dict[tuple[str, str], SinkPair]:
        end = time.monotonic() + PATIENCE
        while True:
            witness = SinkWitness(self._sink_url())
            try:
                return witness.pairs()
            except httpx.HTTPError as error:
                if time.monotonic() > end:
                    raise DevstackError(f"the sink does not answer: {error}") from error
                time.sleep(_PAUSE)
            finally:
                witness.close()

    def _ask(self, method: str, path: str, **call: object) -> httpx.Response:
        headers = {**self._headers, **dict(call.pop("headers", None) or {})}  # type: ignore[call-overload]
        end = time.monotonic() + PATIENCE
        while True:
            try:
                answer = httpx.request(method, self._api_url() + path, headers=headers, timeout=30, **call)  # type: ignore[arg-type]
                if answer.is_success:
                    return answer
                wrong = f"{answer.status_code} {answer.text[:300]}"
                final = answer.status_code not in {409, 429, 500, 502, 503, 504}
            except httpx.HTTPError as error:
                wrong, final = repr(error), False
            if final or time.monotonic() > end:
                raise DevstackError(f"{method} {path}: {wrong}")
            time.sleep(_PAUSE)


class Posting:
    """Posting in a thread of its own."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._error: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Waits for its end.

        Raises:
            BaseException: what went wrong in it.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # noqa: BLE001 - join raises it
            self._error = error


def _state(last_event: str) -> str:
    return {"delivery_delayed": "deferred"}.get(last_event, last_event)
