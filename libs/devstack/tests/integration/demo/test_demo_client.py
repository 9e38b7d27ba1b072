"""The client's own part of exactly-once: the same key and bytes again, until there is an answer worth believing.

The server here is scripted: it says what an API says when it is full, busy, broken or gone.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from random import Random
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack.demo.client import ApiClient, NoAnswer
from mailwarren.devstack.demo.posting import Poster
from mailwarren.devstack.demo.recipients import Recipient
from mailwarren.devstack.errors import DevstackError

ID = "0198f000-0000-7000-8000-{:012}"


class Request(NamedTuple):
    path: str
    key: str
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Reply(NamedTuple):
    status: int
    body: Any = None
    headers: Mapping[str, str] = MappingProxyType({})


HANG_UP = Reply(0)
Script = Callable[[Request, int], Reply]


class Server:
    """Asks ``script`` what to answer to a request, and to which call with its key this is (from 1)."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.requests: list[Request] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                request = Request(lines[0].split()[1].removeprefix("/v1"), headers.get("idempotency-key", ""), body)
                self.requests.append(request)
                reply = self._script(request, sum(one.key == request.key for one in self.requests))
                if reply is HANG_UP:
                    break
                content = json.dumps(reply.body).encode()
                more = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
                writer.write(f"HTTP/1.1 {reply.status} X\r\ncontent-length: {len(content)}\r\n{more}\r\n".encode())
                writer.write(content)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(script: Script, *, patience: float = 20.0) -> AsyncIterator[tuple[Server, ApiClient]]:
    server = Server(script)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    async with listener, ApiClient(url, "mw_key", patience=patience, rng=Random(1)) as api:
        yield server, api


def person(row: int, lane: Lane, expires_in: int | None = None) -> Recipient:
    return Recipient(row, f"user{row}@x.test", lane, {"first_name": "Ada", "renewal_date": "2026-01-01"}, expires_in)


async def test_a_call_is_repeated_with_the_same_key_and_bytes_until_it_is_answered() -> None:
    answers = [
        Reply(503, {"message": "full"}, {"retry-after": "0"}),
        HANG_UP,
        Reply(409, {"message": "being worked on"}, {"retry-after": "0"}),
        Reply(500, {"message": "oops"}),
        Reply(429),
        Reply(200, {"id": ID.format(1)}),
    ]
    async with serving(lambda _, call: answers[call - 1]) as (server, api):
        answer = await api.post("/emails", {"to": "ü"}, "k1")

    assert (answer.status, json.loads(answer.body)) == (200, {"id": ID.format(1)})
    assert [(one.path, one.key, one.json) for one in server.requests] == [("/emails", "k1", {"to": "ü"})] * 6
    assert len({one.body for one in server.requests}) == 1
    assert api.repeats == 5


@pytest.mark.parametrize("reply", [Reply(422, {"message": "no"}), Reply(409, {"message": "another body"})])
async def test_a_refusal_is_an_answer(reply: Reply) -> None:
    async with serving(lambda _request, _call: reply) as (server, api):
        answer = await api.post("/emails", {}, "k1")

    assert (answer.status, answer.message) == (reply.status, reply.body["message"])
    assert len(server.requests) == 1


async def test_the_time_that_the_api_asks_for_is_waited() -> None:
    answers = [Reply(503, {}, {"retry-after": "1"}), Reply(200, {"id": ID.format(1)})]
    async with serving(lambda _, call: answers[call - 1]) as (_, api):
        begun = asyncio.get_running_loop().time()
        await api.post("/emails", {}, "k1")

    assert asyncio.get_running_loop().time() - begun >= 1


async def test_patience_ends() -> None:
    async with serving(lambda _, _call: Reply(503, {"message": "full"}), patience=0.5) as (server, api):
        with pytest.raises(NoAnswer, match="the API answered 503: full"):
            await api.post("/emails", {}, "k1")

    assert len(server.requests) >= 2


async def test_an_api_that_is_not_there_is_told() -> None:
    async with serving(lambda _, _call: Reply(200)) as (_, api):
        pass
    async with ApiClient(api._url, "mw_key", patience=0.3) as gone:
        with pytest.raises(DevstackError, match=r"The API at http://127\.0\.0\.1:\d+/v1 cannot be reached"):
            await gone.check()
        with pytest.raises(NoAnswer, match="no answer from the API"):
            await gone.post("/emails", {}, "k1")


async def test_a_refused_key_ends_everything() -> None:
    async with serving(lambda _, _call: Reply(403, {"message": "API key is invalid"})) as (server, api):
        with pytest.raises(DevstackError, match="refuses the key in MAILWARREN_API_KEY: API key is invalid"):
            await api.check()
        with pytest.raises(DevstackError, match="API key is invalid"):
            await Poster(api, "run").post_all([person(row, Lane.HIGH) for row in range(2, 400)])

    assert len(server.requests) < 100


def an_api(request: Request, _call: int) -> Reply:
    """Takes everything, with ids made of the row numbers."""
    if request.path == "/emails":
        return Reply(200, {"id": ID.format(int(request.json["metadata"]["demo_row"]))})
    if request.path == "/emails/batch":
        return Reply(200, {"data": [{"id": ID.format(int(one["metadata"]["demo_row"]))} for one in request.json]})
    rows = [int(one["metadata"]["demo_row"]) for one in request.json["recipients"]]
    data = [{"index": at, "id": ID.format(row), "to": "x"} for at, row in enumerate(rows)]
    return Reply(202, {"id": ID.format(0), "data": data, "errors": []})


async def test_every_row_is_posted_once_in_the_way_of_its_lane() -> None:
    people = [
        *(person(row, Lane.HIGH) for row in range(2, 42)),
        *(person(row, Lane.NORMAL) for row in range(42, 292)),
        *(person(row, Lane.BULK, 15 if row % 10 == 0 else None) for row in range(292, 3292)),
    ]
    async with serving(an_api) as (server, api):
        posted = await Poster(api, "run").post_all(people)

    assert {one.row: one.id for one in posted.accepted} == {one.row: UUID(ID.format(one.row)) for one in people}
    assert {one.row: (one.lane, one.address) for one in posted.accepted} == {
        one.row: (one.lane, one.email) for one in people
    }
    paths = [one.path for one in server.requests]
    assert [paths.count(path) for path in ("/emails", "/emails/batch", "/emails/bulk")] == [40, 3, 4]
    assert len({one.key for one in server.requests}) == len(server.requests)
    bulk = [one.json for one in server.requests if one.path == "/emails/bulk"]
    sizes = sorted((len(call["recipients"]), "expires_at" in call) for call in bulk)
    assert sizes == [(300, True), (700, False), (1000, False), (1000, False)]
    assert [posted.counted(lane) for lane in Lane] == [40, 250, 3000]


async def test_errors_of_rows_are_believed_when_the_api_says_them_again() -> None:
    """Rows 3 and 5 are wrong; row 4 has no room at first. The ids stay in step with their rows."""

    def script(_request: Request, call: int) -> Reply:
        errors = [{"index": 1, "message": "no @"}, {"index": 3, "message": "empty"}]
        if call < 3:
            return Reply(200, {"data": [{"id": ID.format(2)}], "errors": [*errors, {"index": 2, "message": "full"}]})
        headers = {"Idempotent-Replayed": "true"} if call > 3 else {}
        return Reply(200, {"data": [{"id": ID.format(2)}, {"id": ID.format(4)}], "errors": errors}, headers)

    async with serving(script) as (server, api):
        posted = await Poster(api, "run").post_all([person(row, Lane.NORMAL) for row in range(2, 6)])

    assert [(one.row, one.id) for one in posted.accepted] == [(2, UUID(ID.format(2))), (4, UUID(ID.format(4)))]
    assert [(one.row, one.message) for one in posted.refused] == [(3, "no @"), (5, "empty")]
    assert [one.key for one in server.requests] == ["demo-run-batch-2"] * 4


async def test_a_refused_call_refuses_each_of_its_rows() -> None:
    async with serving(lambda _, _call: Reply(422, {"message": "Invalid `to` field"})) as (_, api):
        posted = await Poster(api, "run").post_all([person(2, Lane.HIGH), person(3, Lane.BULK), person(4, Lane.BULK)])

    assert not posted.accepted
    assert sorted((one.row, one.message) for one in posted.refused) == [
        (row, "Invalid `to` field") for row in (2, 3, 4)
    ]


async def test_rows_of_a_call_without_an_answer_are_kept_apart() -> None:
    def script(request: Request, call: int) -> Reply:
        return Reply(503, {"message": "full"}) if request.path == "/emails/bulk" else an_api(request, call)

    async with serving(script, patience=0.3) as (_, api):
        posted = await Poster(api, "run").post_all([person(2, Lane.HIGH), person(3, Lane.BULK), person(4, Lane.BULK)])

    assert [one.row for one in posted.accepted] == [2]
    assert [(one.row, one.message) for one in posted.unanswered] == [
        (row, "the API answered 503: full") for row in (3, 4)
    ]
    assert posted.rows == {2, 3, 4}


async def test_a_row_that_the_answer_leaves_out_is_not_counted_as_accepted() -> None:
    def script(_request: Request, _call: int) -> Reply:
        return Reply(202, {"id": ID.format(0), "data": [{"index": 1, "id": ID.format(3), "to": "x"}], "errors": []})

    async with serving(script) as (_, api):
        posted = await Poster(api, "run").post_all([person(2, Lane.BULK), person(3, Lane.BULK)])

    assert [one.row for one in posted.accepted] == [3]
    assert [one.message for one in posted.refused] == ["the API's answer does not mention this row"]


@pytest.mark.parametrize("body", [{"data": []}, {"nothing": 1}, {"data": [{"id": "x"}]}])
async def test_an_answer_that_makes_no_sense_ends_the_run(body: Any) -> None:
    async with serving(lambda _, _call: Reply(200, body)) as (_, api):
        with pytest.raises(DevstackError, match="The API's answer to POST /emails/batch cannot be read"):
            await Poster(api, "run").post_all([person(2, Lane.NORMAL)])
