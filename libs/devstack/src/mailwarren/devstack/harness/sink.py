"""The sink's own record of a run, read over its HTTP side."""

import json
from dataclasses import dataclass
from typing import Any

import httpx

from mailwarren.devstack.harness.counts import SinkPair
from mailwarren.devstack.loopback import no_tls


@dataclass(frozen=True)
class SinkRecord:
    """One recipient of one mail whose final dot arrived. Times are Unix seconds."""

    message_id: str
    rcpt: str
    received_at: float
    answered_at: float | None
    code: int
    port: int = 0
    """The client's TCP port."""


class SinkWitness:
    """Reads what arrived, and sets the personas."""

    def __init__(self, url: str) -> None:
        self.url = url
        # The server closes what rests for five seconds; a connection as old might close as it is used.
        limits = httpx.Limits(keepalive_expiry=2.0)
        self._client = httpx.Client(base_url=url, timeout=30, verify=no_tls(), limits=limits)

    def close(self) -> None:
        """Close the HTTP client."""
        self._client.close()

    def play(self, *personas: dict[str, Any], **script: Any) -> None:
        """Replace the script."""
        answer = self._client.post("/script", json={"personas": list(personas), **script})
        answer.raise_for_status()

    def forget(self) -> None:
        """Delete all records and start the counters anew."""
        self._client.delete("/messages").raise_for_status()

    def stats(self) -> dict[str, Any]:
        """The counters."""
        found: dict[str, Any] = self._client.get("/stats").raise_for_status().json()
        return found

    def messages(self, **query: Any) -> list[dict[str, Any]]:
        """What came, with the numbers to ask for the mails by; ``to=`` for one recipient's only."""
        found: list[dict[str, Any]] = self._client.get("/messages", params=query).raise_for_status().json()
        return found

    def raw(self, number: int) -> bytes:
        """A mail as it came."""
        return self._client.get(f"/messages/{number}/raw").raise_for_status().content

    def pairs(self) -> dict[tuple[str, str], SinkPair]:
        """Copies by (Message-ID without brackets, recipient)."""
        lines = self._client.get("/pairs").raise_for_status().text.splitlines()
        rows = (json.loads(line) for line in lines if line)
        return {(row[0].strip("<>"), row[1]): SinkPair(row[2], row[3]) for row in rows}

    def records(self) -> list[SinkRecord]:
        """Every final dot that arrived."""
        lines = self._client.get("/records").raise_for_status().text.splitlines()
        rows = (json.loads(line) for line in lines if line)
        return [
            SinkRecord(
                row["message_id"].strip("<>"),
                row["rcpt"],
                row["received_at"],
                row["answered_at"],
                row["code"],
                row["port"],
            )
            for row in rows
        ]

    def accepted_twice(self) -> set[tuple[str, str]]:
        """The (Message-ID without brackets, recipient) of which the sink's ledger has accepted several copies."""
        lines = self._client.get("/ledger", params={"accepted_at_least": 2}).raise_for_status().text.splitlines()
        rows = (json.loads(line) for line in lines if line)
        return {(row["message_id"].strip("<>"), row["rcpt"]) for row in rows}
