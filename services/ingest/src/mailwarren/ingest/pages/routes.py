"""``/u/{token}``: the routes, without a key: the token says who may do what."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from mailwarren.contracts.unsubscribe import LISTS, PATH
from mailwarren.ingest.adapters.database import DatabaseDown
from mailwarren.ingest.adapters.unsubscribes import Unsubscribes
from mailwarren.ingest.api.services import Services
from mailwarren.ingest.domain.unsubscribe_links import Claim
from mailwarren.ingest.metrics import record_link
from mailwarren.ingest.pages.forms import Fields, read_form, value_of, values_of
from mailwarren.ingest.pages.page import notice_page, policy, preferences_page
from mailwarren.ingest.pages.words import language_of
from mailwarren.store.states import Leaving

log = structlog.get_logger()

MAX_FORM = 32 * 1024
"""Octets of a form."""
ONE_CLICK = "List-Unsubscribe"
"""The field of RFC 8058 §3.1; its value is ``One-Click``."""
RETRY_AFTER = "60"


_Handle = Callable[[Services, Request, Claim, str], Awaitable[Response]]


class Odd(Exception):
    """A form that asks for nothing that there is."""


def page_routes(services: Services) -> list[Route]:
    """The routes."""

    async def show(request: Request) -> Response:
        return await _answered(services, request, _show)

    async def change(request: Request) -> Response:
        return await _answered(services, request, _change)

    return [Route(f"{PATH}{{token}}", show, methods=["GET"]), Route(f"{PATH}{{token}}", change, methods=["POST"])]


async def _answered(services: Services, request: Request, handle: _Handle) -> Response:
    asked = language_of(request.headers.get("accept-language", ""), request.query_params.get("lang"))
    claim = services.unsubscribe.read(request.path_params["token"])
    if claim is None:
        record_link("refused")
        return _page(notice_page(asked, "bad"), 404)
    try:
        return await handle(services, request, claim, asked)
    except DatabaseDown as error:
        log.warning("ingest.unsubscribe.no_database", error=str(error))
        return _page(notice_page(asked, "away"), 503, {"Retry-After": RETRY_AFTER})
    except Odd:
        return _page(notice_page(asked, "odd"), 400)
    except ClientDisconnect:
        return Response(status_code=400)


async def _show(services: Services, _: Request, claim: Claim, language: str) -> Response:
    record_link("shown")
    return await _preferences(services, claim, language)


async def _change(services: Services, request: Request, claim: Claim, language: str) -> Response:
    fields = read_form(request.headers.get("content-type", ""), await _body(request))
    language = language_of(language, value_of(fields, "lang"))
    if (value_of(fields, ONE_CLICK) or "").lower() == "one-click":
        done = await _leave(services, claim, claim.topic)
        record_link("one_click")
        return await _preferences(services, claim, language, done)
    match value_of(fields, "action"):
        case "leave_all":
            done = await _leave(services, claim, LISTS)
            record_link("left")
        case "come_back":
            done = await _come_back(services, claim)
            record_link("saved")
        case "save":
            done = await _save(services, claim, fields)
            record_link("saved")
        case _:
            raise Odd
    return await _preferences(services, claim, language, done)


async def _leave(services: Services, claim: Claim, topic: UUID) -> str:
    async with services.suppressions.transaction() as lists:
        if topic != LISTS and not await lists.is_topic(claim.tenant, topic):
            # Nothing is sent about it any more. Whoever wants to leave it does not want the rest either.
            topic = LISTS
        await lists.leave(claim.tenant, topic, [claim.address], Leaving.LINK, claim.source)
    await services.told.suppressed(claim.tenant, topic, [claim.address])
    log.info("ingest.unsubscribe.left", tenant=str(claim.tenant), topic=str(topic))
    return "done_left" if topic == LISTS else "done_left_topic"


async def _come_back(services: Services, claim: Claim) -> str:
    async with services.suppressions.transaction() as lists:
        await lists.come_back(claim.tenant, LISTS, [claim.address])
    await services.told.wanted(claim.tenant, LISTS, [claim.address])
    log.info("ingest.unsubscribe.came_back", tenant=str(claim.tenant), topic=str(LISTS))
    return "done_back"


async def _save(services: Services, claim: Claim, fields: Fields) -> str:
    """Take the topics that are checked, and leave the others of those that were shown."""
    shown, wanted = _ids(fields, "shown"), _ids(fields, "topic")
    taken: list[UUID] = []
    left: list[UUID] = []
    async with services.suppressions.transaction() as lists:
        now = await lists.preferences(claim.tenant, claim.address, claim.topic)
        for topic in now.topics:
            if topic.id in shown and topic.subscribed != (topic.id in wanted):
                (taken if topic.id in wanted else left).append(topic.id)
        await _note(lists, claim, taken, left)
    for topic_id in left:
        await services.told.suppressed(claim.tenant, topic_id, [claim.address])
    for topic_id in taken:
        await services.told.wanted(claim.tenant, topic_id, [claim.address])
    log.info("ingest.unsubscribe.saved", tenant=str(claim.tenant), left=len(left), taken=len(taken))
    return "done_saved"


async def _note(lists: Unsubscribes, claim: Claim, taken: list[UUID], left: list[UUID]) -> None:
    for topic in left:
        await lists.leave(claim.tenant, topic, [claim.address], Leaving.LINK, claim.source)
    for topic in taken:
        await lists.come_back(claim.tenant, topic, [claim.address])


async def _preferences(services: Services, claim: Claim, language: str, done: str | None = None) -> Response:
    found = await services.suppressions.unsubscribes.preferences(claim.tenant, claim.address, claim.topic)
    return _page(preferences_page(language, claim.address, found, done))


async def _body(request: Request) -> bytes:
    found = bytearray()
    async for piece in request.stream():
        found += piece
        if len(found) > MAX_FORM:
            raise Odd
    return bytes(found)


def _ids(fields: Fields, name: str) -> set[UUID]:
    found: set[UUID] = set()
    for text in values_of(fields, name):
        try:
            found.add(UUID(text))
        except ValueError as error:
            raise Odd from error
    return found


def _page(html: str, status: int = 200, more: dict[str, str] | None = None) -> Response:
    headers = {
        # The address of the page is what lets its reader choose: it is told to nobody and kept nowhere.
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "Content-Security-Policy": policy(),
        "X-Content-Type-Options": "nosniff",
        "X-Robots-Tag": "noindex, nofollow",
        "Vary": "Accept-Language",
    }
    return HTMLResponse(html, status, headers | (more or {}))
