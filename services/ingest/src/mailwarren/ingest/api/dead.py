"""``/v1/dead``: what was set aside for a person; look at it, send it back."""

import msgspec
import structlog

from mailwarren.ingest.api.answers.operating import DeadFull, DeadList, DeadShown, Replayed
from mailwarren.ingest.api.endpoint import Answer, Call, answer
from mailwarren.ingest.domain.cursor import parse_id
from mailwarren.ingest.domain.decoding import decode
from mailwarren.ingest.domain.refusal import invalid, invalid_parameter, missing
from mailwarren.ingest.domain.requests import ReplayBody

log = structlog.get_logger()

KINDS = ("mail", "unrouted", "ops")
DEFAULT, MOST = 100, 1000
MOST_IDS = 100


async def read_list(call: Call) -> Answer:
    """``GET /v1/dead``: the oldest ``limit``; they stay where they are."""
    limit = call.query.get("limit", str(DEFAULT))
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= MOST):  # noqa: PLR2004
        raise invalid_parameter(f"The `limit` parameter is a number from 1 to {MOST}.")
    letters = await call.services.parked.list(_kind(call, "limit"), int(limit))
    return answer(DeadList(data=[msgspec.convert(letter, DeadShown) for letter in letters]))


async def read(call: Call) -> Answer:
    """``GET /v1/dead/{id}``."""
    ident = parse_id(call.path["id"])
    letter = await call.services.parked.show(_kind(call), ident)
    # A broker's headers hold times and bytes.
    return answer(msgspec.convert(msgspec.to_builtins(letter, enc_hook=str), DeadFull))


async def replay(call: Call) -> Answer:
    """``POST /v1/dead/replay``."""
    body = decode(call.body, ReplayBody)
    if (body.ids is None) == (not body.all):
        raise missing("Missing `ids` or `all` field: say which dead letters, with one of them.")
    if body.ids is not None and not 1 <= len(body.ids) <= MOST_IDS:
        raise invalid(f"Invalid `ids` field: 1 to {MOST_IDS} ids.")
    kind = _kind(call)
    done, left = await call.services.parked.replay(kind, body.ids)
    log.info("ingest.dead.replayed", kind=kind, replayed=done, left=left, by=str(call.key.id))
    return answer(Replayed(replayed=done, left=left))


def _kind(call: Call, *others: str) -> str:
    if unknown := set(call.query) - {"kind", *others}:
        raise invalid_parameter(
            f"Unknown query parameters: {', '.join(sorted(unknown))}; there are {', '.join(('kind', *others))}."
        )
    kind = call.query.get("kind", KINDS[0])
    if kind not in KINDS:
        raise invalid_parameter(f"The `kind` parameter is one of {', '.join(KINDS)}.")
    return kind
