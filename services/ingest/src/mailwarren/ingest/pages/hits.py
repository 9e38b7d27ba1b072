"""``/t/o/{token}`` and ``/t/c/{token}``: where pixels and tracked links lead.

A link leads on only to where the mail that it stood in led: its token says where, signed. An answer waits 40 ms for the
broker at most and never for the database. ``HEAD`` is answered as ``GET`` and recorded nowhere: only programs ask so.
"""

import time
from base64 import b64decode
from ipaddress import ip_address

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from mailwarren.contracts.ids import new_id
from mailwarren.contracts.tracking import CLICK, OPEN, PATH, Hit, HitKind
from mailwarren.ingest.domain.bots import agent_text, flag_of
from mailwarren.ingest.domain.tracking_links import Visit
from mailwarren.ingest.hits import Tracked
from mailwarren.ingest.metrics import record_hit
from mailwarren.ingest.pages.page import notice_page, policy
from mailwarren.ingest.pages.words import language_of

PIXEL = b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
"""A GIF of one transparent pixel."""
HEADERS = {
    "Cache-Control": "no-store, no-cache, private, max-age=0",
    "Pragma": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}


def hit_routes(tracked: Tracked) -> list[Route]:
    """The routes."""

    async def opened(request: Request) -> Response:
        visit = await _visit(tracked, request, HitKind.OPENED)
        return _unknown(request) if visit is None else Response(PIXEL, media_type="image/gif", headers=HEADERS)

    async def clicked(request: Request) -> Response:
        visit = await _visit(tracked, request, HitKind.CLICKED)
        if visit is None or visit.link is None:
            return _unknown(request)
        return RedirectResponse(visit.link, 302, headers=HEADERS)

    return [
        Route(f"{PATH}{use.decode()}/{{token}}", answer, methods=["GET"])
        for use, answer in ((OPEN, opened), (CLICK, clicked))
    ]


async def _visit(tracked: Tracked, request: Request, kind: HitKind) -> Visit | None:
    visit = tracked.links.read(request.path_params["token"], OPEN if kind is HitKind.OPENED else CLICK)
    if visit is None:
        record_hit(kind, "refused")
        return None
    if request.method != "GET":
        record_hit(kind, "head")
        return visit
    now = time.time()
    if not tracked.bounds.takes(visit.delivery, now):
        record_hit(kind, "too_many")
        return visit
    # Names in lower case, as ASGI has them.
    headers = dict(request.headers)
    flag = flag_of(kind, headers)
    hit = Hit(
        id=new_id(),
        kind=kind,
        delivery=visit.delivery,
        email_id=visit.email_id,
        tenant=visit.tenant,
        at=now,
        accepted_at=visit.accepted_at,
        link=visit.link,
        agent=agent_text(headers),
        flag=flag,
        ip=_address(request) if tracked.addresses else None,
    )
    await tracked.reports.report(visit.partition, hit)
    record_hit(kind, "reader" if flag is None else flag.value)
    return visit


def _address(request: Request) -> str | None:
    """The visitor's address, as the proxy before us says, else that of the connection."""
    said = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    try:
        return str(ip_address(said))
    except ValueError:
        return request.client.host if request.client else None


def _unknown(request: Request) -> Response:
    asked = language_of(request.headers.get("accept-language", ""), request.query_params.get("lang"))
    headers = HEADERS | {"Content-Security-Policy": policy()}
    return HTMLResponse(notice_page(asked, "bad"), 404, headers)
