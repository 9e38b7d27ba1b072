"""The HTTP side: counts, records and mails as JSON, the script, and the pages for people.

Streams are made in slices, with the loop free in between: reading a million records does not stop the SMTP side.
"""

import asyncio
from collections.abc import AsyncIterator
from itertools import islice
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from mailwarren.sink import page
from mailwarren.sink.mailbox import Mail, Summary, summarize
from mailwarren.sink.message import view
from mailwarren.sink.receiver import Receiver
from mailwarren.sink.script import ScriptError

_SLICE = 2000
_NO_LIMIT = 1 << 62
_LARGEST_SCRIPT = 4 * 1024 * 1024
_NDJSON = "application/x-ndjson"
# A mail's html is shown, never run: no script, no form, nothing fetched from anywhere.
_MAIL_POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-src 'self'; "
    "form-action 'self'; base-uri 'none'"
)

_json = msgspec.json.Encoder()


def build_app(receiver: Receiver) -> Starlette:
    """The application over one receiver."""
    side = _Side(receiver)
    return Starlette(
        routes=[
            Route("/", side.index),
            Route("/view/{n:int}", side.show),
            Route("/healthz", side.healthz),
            Route("/stats", side.stats),
            Route("/records", side.records),
            Route("/pairs", side.pairs),
            Route("/messages", side.messages),
            Route("/messages", side.forget, methods=["DELETE"]),
            Route("/messages/{n:int}", side.message),
            Route("/messages/{n:int}/raw", side.raw),
            Route("/messages/{n:int}/html", side.html),
            Route("/script", side.script),
            Route("/script", side.play, methods=["POST"]),
        ],
        exception_handlers={HTTPException: _refused},
    )


async def _refused(_request: Request, error: Exception) -> Response:
    # Starlette's type is wider than what it is registered for.
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else "internal error"
    return _answer({"error": detail}, status)


def _answer(value: Any, status: int = 200) -> Response:
    return Response(_json.encode(value), status, media_type="application/json")


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal()):
        raise HTTPException(422, f"{name} must be a whole number, not {text!r}")
    return int(text)


class _Side:
    """The endpoints."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._store = receiver.store

    async def healthz(self, _request: Request) -> Response:
        return _answer({"status": "ok"})

    async def stats(self, _request: Request) -> Response:
        return _answer(self._store.stats())

    async def records(self, request: Request) -> Response:
        since, limit = _number(request, "since", 0), _number(request, "limit", _NO_LIMIT)
        prefix = request.query_params.get("message_id_prefix", "")
        domain = request.query_params.get("domain", "")

        async def stream() -> AsyncIterator[bytes]:
            records, left = self._store.records, min(limit, _NO_LIMIT)
            for start in range(since, len(records), _SLICE):
                found = records.select(start, start + _SLICE, message_id_prefix=prefix, domain=domain)
                lines = list(islice(found, left))
                left -= len(lines)
                if lines:
                    yield _json.encode_lines(lines)
                if not left:
                    return
                await asyncio.sleep(0)

        return StreamingResponse(stream(), media_type=_NDJSON)

    async def pairs(self, _request: Request) -> Response:
        async def stream() -> AsyncIterator[bytes]:
            records = self._store.records
            keys = records.pair_keys()
            for start in range(0, len(keys), _SLICE):
                yield _json.encode_lines([records.pair(key) for key in keys[start : start + _SLICE]])
                await asyncio.sleep(0)

        return StreamingResponse(stream(), media_type=_NDJSON)

    async def messages(self, request: Request) -> Response:
        to, limit = request.query_params.get("to", ""), _number(request, "limit", 100)
        return _answer([self._summary(mail) for mail in self._store.mailbox.newest(to=to, limit=limit)])

    async def message(self, request: Request) -> Response:
        mail = self._mail(request)
        summary = msgspec.to_builtins(self._summary(mail))
        return _answer(summary | msgspec.to_builtins(view(mail.raw)))

    async def raw(self, request: Request) -> Response:
        return Response(self._mail(request).raw, media_type="message/rfc822")

    async def html(self, request: Request) -> Response:
        body = view(self._mail(request).raw).html
        if body is None:
            raise HTTPException(404, "this mail has no html part")
        return HTMLResponse(body, headers={"Content-Security-Policy": _MAIL_POLICY})

    async def forget(self, _request: Request) -> Response:
        return _answer({"deleted": self._receiver.forget()})

    async def script(self, _request: Request) -> Response:
        return _answer(self._receiver.policy.script)

    async def play(self, request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _LARGEST_SCRIPT:
                raise HTTPException(413, f"a script has at most {_LARGEST_SCRIPT} octets")
        try:
            return _answer(self._receiver.play(bytes(body)))
        except ScriptError as error:
            raise HTTPException(422, str(error)) from error

    async def index(self, request: Request) -> Response:
        to = request.query_params.get("to", "")
        mails = [self._summary(mail) for mail in self._store.mailbox.newest(to=to, limit=100)]
        return _page(page.index(self._store.stats(), mails, to=to))

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
