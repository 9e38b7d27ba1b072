"""``GET /ledger`` and ``GET /windows``: what tests compare with what a sender claims."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Sequence
from itertools import islice

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from mailwarren.sink.answers import NDJSON, NO_LIMIT, SLICE, answer, encoder, number
from mailwarren.sink.ledger import Entry
from mailwarren.sink.receiver import Receiver
from mailwarren.sink.sites import ALL
from mailwarren.sink.store import Mode

_LONGEST_WINDOW = 3600
_MOST_WINDOWS = 10_000  # in one answer, which is made at once
_FIELDS = tuple(field.name for field in msgspec.structs.fields(Entry))


class LedgerSide:
    """The endpoints."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._store = receiver.store

    async def ledger(self, request: Request) -> Response:
        """All entries as NDJSON or CSV, in slices; or the one of a Message-ID and recipient."""
        if self._store.mode is Mode.BARE:
            raise HTTPException(409, "a sink in mode bare keeps no ledger: it has GET /stats")
        query = request.query_params
        form = query.get("format", "ndjson")
        if form not in {"ndjson", "csv"}:
            raise HTTPException(422, f"format must be ndjson or csv, not {form!r}")
        if ("message_id" in query) != ("rcpt" in query):
            raise HTTPException(422, "message_id and rcpt belong together")
        if "message_id" in query:
            return self._one(query["message_id"].encode(), query["rcpt"].encode())
        since, limit = number(request, "since", 0), number(request, "limit", NO_LIMIT)
        least = number(request, "accepted_at_least", 0)
        lines = _csv_lines if form == "csv" else encoder.encode_lines

        async def stream() -> AsyncIterator[bytes]:
            ledger, left = self._store.ledger, limit
            if form == "csv":
                yield ",".join(_FIELDS).encode() + b"\r\n"
            for start in range(since, len(ledger), SLICE):
                found = map(ledger.entry, range(start, min(start + SLICE, len(ledger))))
                entries = [entry for entry in found if entry.accepted >= least][:left]
                left -= len(entries)
                if entries:
                    yield lines(entries)
                if not left:
                    return
                await asyncio.sleep(0)

        return StreamingResponse(stream(), media_type="text/csv" if form == "csv" else NDJSON)

    async def windows(self, request: Request) -> Response:
        """Counts by time of one site."""
        sites = self._store.sites
        name = request.query_params.get("site", ALL)
        site = sites.find(name)
        if site is None:
            raise HTTPException(404, f"no site {name!r}: there are {', '.join(sites.names())}")
        seconds = number(request, "seconds", 1, least=1, most=_LONGEST_WINDOW)
        step = number(request, "step", seconds, least=1, most=_LONGEST_WINDOW)
        since = number(request, "since", 0)
        limit = number(request, "limit", _MOST_WINDOWS, most=_MOST_WINDOWS)
        every = site.windows(self._receiver.clock(), seconds=seconds, step=step, since=since)
        found = list(islice(every, limit))
        return answer({"site": name, "seconds": seconds, "step": step, "open": site.open, "windows": found})

    def _one(self, message_id: bytes, rcpt: bytes) -> Response:
        entry = self._store.ledger.find(message_id, rcpt)
        if entry is None:
            raise HTTPException(404, "no final dot arrived for this Message-ID and recipient")
        return answer(self._store.ledger.entry(entry))


def _csv_lines(entries: Sequence[Entry]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([msgspec.structs.astuple(entry) for entry in entries])
    return text.getvalue().encode()
