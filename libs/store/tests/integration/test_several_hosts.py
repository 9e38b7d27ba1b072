"""One URL with several hosts, of which the first is silent, absent, or refuses."""

import socket
import time
from collections.abc import Iterator

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from mailwarren.store.engine import dsn, make_engine

WAIT = 2.0


@pytest.fixture
def silent() -> Iterator[str]:
    """Takes connections and never says a word, as a host whose packets get lost."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def among(url: str, *others: str) -> str:
    """``url`` behind other hosts."""
    login, _, rest = url.rpartition("@")
    return f"{login}@{','.join(others)},{rest}?target_session_attrs=read-write"


async def ask(url: str) -> float:
    """How long a first query takes."""
    engine = make_engine(url, connect_timeout=WAIT)
    begin = time.monotonic()
    try:
        async with engine.connect() as connection:
            assert (await connection.execute(text("SELECT 1"))).scalar() == 1
        return time.monotonic() - begin
    finally:
        await engine.dispose()


async def test_a_silent_host_leaves_the_next_one_its_share_of_the_time(postgres, silent):
    assert WAIT / 2 <= await ask(among(postgres.database_url, silent)) < WAIT


async def test_a_host_where_nobody_listens_is_passed_over_at_once(postgres):
    assert await ask(among(postgres.database_url, "127.0.0.1:1")) < WAIT / 2


async def test_the_driver_alone_would_spend_all_its_time_on_the_silent_one(postgres, silent):
    with pytest.raises(TimeoutError):
        await asyncpg.connect(dsn(among(postgres.database_url, silent)), timeout=0.3)


async def test_a_wrong_password_is_said_and_not_hidden_by_the_next_host(postgres):
    url = among(postgres.database_url, "127.0.0.1:1")
    login, _, rest = url.rpartition("@")
    wrong = f"{login.rpartition(':')[0]}:wrong@{rest}"
    with pytest.raises(DBAPIError, match="password authentication failed"):
        await ask(wrong)
