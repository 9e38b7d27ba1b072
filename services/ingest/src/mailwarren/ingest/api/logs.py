"""``/v1/logs``: the calls of a tenant's keys."""

from typing import Any

import msgspec

from mailwarren.ingest.api.answers.logs import LogFull, LogList, LogShort
from mailwarren.ingest.api.endpoint import Answer, Call, answer
from mailwarren.ingest.domain.cursor import parse_id, parse_page
from mailwarren.ingest.domain.refusal import not_found


async def read_list(call: Call) -> Answer:
    """``GET /v1/logs``."""
    page = parse_page(call.query)
    shown, more = page.cut(await call.services.api_logs.page(call.key.tenant, page))
    return answer(LogList(has_more=more, data=[LogShort(**_common(row)) for row in shown]))


async def read(call: Call) -> Answer:
    """``GET /v1/logs/{id}``."""
    ident = parse_id(call.path["id"])
    row = await call.services.api_logs.find(call.key.tenant, ident)
    if row is None:
        raise not_found(f"There is no log with the id {ident}.")
    bodies = {name: _body(row[name]) for name in ("request_body", "response_body")}
    return answer(LogFull(**_common(row), **bodies))


def _common(row: Any) -> dict[str, Any]:
    return {
        "id": row["id"],
        "created_at": row["created_at"],
        "endpoint": row["endpoint"],
        "method": row["method"],
        "response_status": row["status"],
        "user_agent": row["user_agent"],
    }


def _body(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)
