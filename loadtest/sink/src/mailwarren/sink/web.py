"""The HTTP side: counts, records and mails as JSON, and the pages for people.

Streams are made in slices, with the loop free in between: reading a million records does not stop the SMTP side.
"""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable
from itertools import islice
from typing import TYPE_CHECKING

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from mailwarren.sink import page
from mailwarren.sink.answers import NDJSON, NO_LIMIT, SLICE, answer, encoder, number, refused
from mailwarren.sink.mailbox import Mail, Summary, summarize
from mailwarren.sink.message import view
from mailwarren.sink.metrics import exposition
from mailwarren.sink.page_script import script_cards
from mailwarren.sink.persona import Tls
from mailwarren.sink.receiver import Receiver
from mailwarren.sink.store import Mode
from mailwarren.sink.visit import Host
from mailwarren.sink.web_ledger import LedgerSide
from mailwarren.sink.web_script import ScriptSide

if TYPE_CHECKING:
    from mailwarren.sink.certificates import Certificates

# A mail's html is shown, never run: no script, no form, nothing fetched from anywhere.
_MAIL_POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-src 'self'; "
    "form-action 'self'; base-uri 'none'"
)


def build_app(receiver: Receiver, certificates: "Callable[[], Certificates]") -> Starlette:
    """The application over one receiver; ``certificates`` gives those of the sink."""
    side, script, ledger = _Side(receiver, certificates), ScriptSide(receiver), LedgerSide(receiver)
    return Starlette(
        routes=[
            Route("/", side.index),
            Route("/view/{n:int}", side.show),
            Route("/healthz", side.healthz),
            Route("/metrics", side.metrics),
            Route("/ca.pem", side.authority),
            Route("/tlsa", side.tlsa),
            Route("/stats", side.stats),
            Route("/records", side.records),
            Route("/pairs", side.pairs),
            Route("/ledger", ledger.ledger),
            Route("/windows", ledger.windows),
            Route("/messages", side.messages),
            Route("/messages", side.forget, methods=["DELETE"]),
            Route("/messages/{n:int}", side.message),
            Route("/messages/{n:int}/raw", side.raw),
            Route("/messages/{n:int}/html", side.html),
            Route("/personas", script.personas),
            Route("/script", script.script),
            Route("/script", script.play, methods=["POST"]),
            Route("/script/timeline", script.timeline),
            Route("/script/timeline", script.add, methods=["POST"]),
            Route("/script/timeline/{n:int}", script.cancel, methods=["DELETE"]),
        ],
        exception_handlers={HTTPException: refused},
    )


class _Side:
    """The endpoints."""

    def __init__(self, receiver: Receiver, certificates: "Callable[[], Certificates]") -> None:
        self._receiver = receiver
        self._store = receiver.store
        self._certificates = certificates

    async def healthz(self, _request: Request) -> Response:
        return answer({"status": "ok"})

    async def metrics(self, _request: Request) -> Response:
        return Response(exposition(self._store), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def authority(self, _request: Request) -> Response:
        return Response(self._certificates().pem, media_type="application/x-pem-file")

    async def tlsa(self, request: Request) -> Response:
        """TLSA records that fit what an address shows, one a line."""
        query = request.query_params
        try:
            kind = Tls(query.get("tls", Tls.VALID))
            ip, _, port = query["host"].rpartition(":")
            host = Host(query["host"], ip.strip("[]"), int(port), query.get("name", ""))
            ipaddress.ip_address(host.ip)
        except (KeyError, ValueError) as error:
            raise HTTPException(422, "expected host=ADDRESS:PORT, and tls and name as there") from error
        return PlainTextResponse("\n".join([*self._certificates().tlsa(kind, host), ""]))

    async def stats(self, _request: Request) -> Response:
        return answer(self._store.stats())

    async def records(self, request: Request) -> Response:
        self._need_records()
        since, limit = number(request, "since", 0), number(request, "limit", NO_LIMIT)
        prefix = request.query_params.get("message_id_prefix", "")
        domain = request.query_params.get("domain", "")

        async def stream() -> AsyncIterator[bytes]:
            records, left = self._store.records, min(limit, NO_LIMIT)
            for start in range(since, len(records), SLICE):
                found = records.select(start, start + SLICE, message_id_prefix=prefix, domain=domain)
                lines = list(islice(found, left))
                left -= len(lines)
                if lines:
                    yield encoder.encode_lines(lines)
                if not left:
                    return
                await asyncio.sleep(0)

        return StreamingResponse(stream(), media_type=NDJSON)

    async def pairs(self, _request: Request) -> Response:
        self._need_records()

        async def stream() -> AsyncIterator[bytes]:
            records = self._store.records
            for start in range(0, len(records.ledger), SLICE):
                pairs = list(records.pairs(start, start + SLICE))
                if pairs:
                    yield encoder.encode_lines(pairs)
                await asyncio.sleep(0)

        return StreamingResponse(stream(), media_type=NDJSON)

    def _need_records(self) -> None:
        mode = self._store.mode
        if mode is not Mode.FULL:
            raise HTTPException(409, f"a sink in mode {mode.value} keeps no records: it has GET /stats and GET /ledger")

    async def messages(self, request: Request) -> Response:
        to, limit = request.query_params.get("to", ""), number(request, "limit", 100)
        return answer([self._summary(mail) for mail in self._store.mailbox.newest(to=to, limit=limit)])

    async def message(self, request: Request) -> Response:
        mail = self._mail(request)
        summary = msgspec.to_builtins(self._summary(mail))
        return answer(summary | msgspec.to_builtins(view(mail.raw)))

    async def raw(self, request: Request) -> Response:
        return Response(self._mail(request).raw, media_type="message/rfc822")

    async def html(self, request: Request) -> Response:
        body = view(self._mail(request).raw).html
        if body is None:
            raise HTTPException(404, "this mail has no html part")
        return HTMLResponse(body, headers={"Content-Security-Policy": _MAIL_POLICY})

    async def forget(self, _request: Request) -> Response:
        return answer({"deleted": self._receiver.forget()})

    async def index(self, request: Request) -> Response:
        to = request.query_params.get("to", "")
        mails = [self._summary(mail) for mail in self._store.mailbox.newest(to=to, limit=100)]
        now = self._receiver.clock()
        shown = page.index(
            self._store.stats(),
            mails,
            to=to,
            scene=script_cards(self._receiver.script, self._receiver.scheduled(), self._store.sites, now),
        )
        return _page(shown)

    async def show(self, request: Request) -> Response:
        mail = self._mail(request)
        return _page(page.mail(self._summary(mail), view(mail.raw)))

    def _mail(self, request: Request) -> Mail:
        n: int = request.path_params["n"]
        mail = self._store.mailbox.get(n)
        if mail is None:
            raise HTTPException(
                404, f"no mail {n}: never received, forgotten, or no longer among the newest that are kept"
            )
        return mail

    def _summary(self, mail: Mail) -> Summary:
        return summarize(mail, answered_at=self._store.records.answered_at(mail.record))


def _page(html: str) -> Response:
    return HTMLResponse(html, headers={"Content-Security-Policy": _PAGE_POLICY, "Referrer-Policy": "no-referrer"})
