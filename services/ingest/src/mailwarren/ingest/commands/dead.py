"""``mailwarren dead``: dead letters over the API, or over the broker as its administrator."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
from aio_pika.exceptions import AMQPError
from aiormq.exceptions import ChannelAccessRefused

from mailwarren.ingest.adapters import dead
from mailwarren.ingest.adapters.dead import DeadTrouble, Shelf, numbered, taken
from mailwarren.ingest.commands import Failed
from mailwarren.ingest.commands.api import Api
from mailwarren.runtime.amqp import Link, Publisher

CONNECT_WITHIN = 10.0
DEEP = 50_000
"""Dead letters taken in one look on the broker."""
PAGE = 1000
"""Dead letters that the API lists at most."""


# Over the API


def list_letters(api: Api, kind: str, limit: int) -> list[dict[str, Any]]:
    """The first ``limit`` dead letters, oldest first.

    Raises:
        Failed: the API said no.
    """
    found: list[dict[str, Any]] = api.get("/dead", kind=kind, limit=min(limit, PAGE))["data"]
    return found


def show_letter(api: Api, kind: str, number: int) -> dict[str, Any]:
    """One dead letter.

    Raises:
        Failed: there is none of that number.
    """
    return api.get(f"/dead/{_ids(api, kind, [number])[0]}", kind=kind)


def replay_letters(api: Api, kind: str, numbers: Sequence[int] | None) -> str:
    """Send dead letters back where they came from, all of them for None.

    Raises:
        Failed: one could not be replayed; it and those after it are still there.
    """
    done = 0
    while True:
        body = {"all": True} if numbers is None else {"ids": _ids(api, kind, numbers)}
        answer = api.post("/dead/replay", body, kind=kind)
        done += answer["replayed"]
        if numbers is not None or not answer["replayed"] or not answer["left"]:
            break
    return f"replayed {done}" if done else "there are no dead letters"


def _ids(api: Api, kind: str, numbers: Sequence[int]) -> list[str]:
    """The ids of the letters that have these numbers now: numbers change as letters come and go."""
    if max(numbers) > PAGE:
        raise Failed(f"the API numbers the first {PAGE} dead letters; use --broker for more")
    letters = list_letters(api, kind, max(numbers))
    missing = [number for number in numbers if number > len(letters)]
    if missing:
        raise Failed(f"there is no dead letter {missing[0]}; there are {len(letters)}")
    return [letters[number - 1]["id"] for number in sorted(set(numbers))]


# Over the broker


async def list_dead(url: str, place: Shelf, limit: int) -> list[dict[str, Any]]:
    """As :func:`list_letters`.

    Raises:
        Failed: no broker, or no such queue.
    """
    async with _connected(url) as connection, taken(connection, place, DEEP) as letters:
        return [letter.summary() for letter in letters[:limit]]


async def show_dead(url: str, place: Shelf, number: int) -> dict[str, Any]:
    """As :func:`show_letter`.

    Raises:
        Failed: there is none of that number.
    """
    async with _connected(url) as connection, taken(connection, place, DEEP) as letters:
        return numbered(letters, number).details()


async def replay_dead(url: str, place: Shelf, numbers: Sequence[int] | None) -> str:
    """As :func:`replay_letters`.

    Raises:
        Failed: one could not be replayed; it and those after it are still there.
    """
    async with _connected(url) as connection, taken(connection, place, DEEP) as letters:
        chosen = letters if numbers is None else [numbered(letters, number) for number in sorted(set(numbers))]
        if not chosen:
            return "there are no dead letters"
        async with Link(url, "mailwarren-cli") as link:
            publisher = Publisher(link)
            await _up(link)
            await dead.replay(publisher.publish, chosen)
    return f"replayed {len(chosen)}"


async def purge_dead(url: str, place: Shelf) -> str:
    """Delete all dead letters.

    Raises:
        Failed: no broker, or no such queue.
    """
    async with _connected(url) as connection:
        channel = await connection.channel()
        try:
            queue = await channel.get_queue(place.queue, ensure=True)
            deleted = await queue.purge()
        except ChannelAccessRefused as error:
            raise Failed(f"a service's account may not empty {place.queue}: connect as the administrator") from error
        except AMQPError as error:
            raise Failed(f"{place.queue} cannot be emptied: {error}") from error
    return f"deleted {deleted.message_count}"


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[aio_pika.abc.AbstractConnection]:
    try:
        connection = await aio_pika.connect(url, timeout=CONNECT_WITHIN)
    except (OSError, AMQPError, TimeoutError) as error:
        raise Failed(f"no broker: {error}") from error
    async with connection:
        try:
            yield connection
        except DeadTrouble as error:
            raise Failed(str(error)) from error


async def _up(link: Link) -> None:

    try:
        async with asyncio.timeout(CONNECT_WITHIN):
            await link.wait_up()
    except TimeoutError as error:
        raise Failed("no second connection to the broker") from error
