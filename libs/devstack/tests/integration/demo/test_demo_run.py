"""The demo on a short list, over the real parts: a ledger that balances, and what it says when something is wrong.

One system for all tests, in their order: what one leaves behind is there for the next, as on somebody's machine.
"""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from mailwarren.contracts.lanes import Lane
from mailwarren.devstack import demo
from mailwarren.devstack.demo import drive, roster
from mailwarren.devstack.demo.drive import Drive, Outcome
from mailwarren.devstack.demo.progress import Board
from mailwarren.devstack.demo.recipients import COLUMNS, FILE
from mailwarren.devstack.harness.system import System
from mailwarren.store.engine import dsn

pytestmark = [pytest.mark.broker, pytest.mark.postgres]

Row = dict[str, str]
MANY = {roster.LOSES_ANSWERS: 120, roster.LEFT_CAMPUS: 40, roster.STRANGE_WORDS: 20, roster.FRAYED: 30}


@pytest.fixture(scope="module")
def system(
    tmp_path_factory: pytest.TempPathFactory, rabbitmq: Any, postgres: Any, amqp_prefix: str
) -> Iterator[System]:
    made = System(
        tmp_path_factory.mktemp("demo"),
        amqp_url=rabbitmq.amqp_url,
        database_url=postgres.database_url,
        prefix=amqp_prefix,
    )
    made.prepare()
    try:
        made.start_sink()
        made.start_ingest()
        made.start_tracker()
        yield made
    finally:
        made.close()


@pytest.fixture
def environment(system: System, rabbitmq: Any) -> dict[str, str]:
    assert system.api is not None
    assert system.sink is not None
    return system.env | {
        "MAILWARREN_API_URL": str(system.api.base_url),
        "MAILWARREN_API_KEY": system.token,
        "MAILWARREN_SINK_URL": str(system.sink._client.base_url),
        "MAILWARREN_MANAGEMENT_URL": rabbitmq.management_url or "",
    }


def committed_rows() -> list[Row]:
    return list(csv.DictReader(FILE.read_text("utf-8").splitlines(keepends=True)))


def write(path: Path, rows: list[Row]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def short_list(path: Path) -> tuple[Path, int]:
    """Some rows of each domain, more of the troubled ones, and all that are not right; how many those are."""
    taken: Counter[str] = Counter()
    rows = []
    for row in committed_rows():
        domain = row["email"].rpartition("@")[2].lower()
        known = domain in roster.domain_counts()
        taken[domain] += 1
        if not known or not row["email"] or taken[domain] <= MANY.get(domain, 4) or is_wrong(row):
            # Nobody waits 15 s for a server that takes nothing.
            rows.append(row | ({"expires_in": "2"} if domain == roster.CLOSED else {}))
    return write(path, rows), len(rows)


def is_wrong(row: Row) -> bool:
    local = row["email"].rpartition("@")[0]
    return (
        ".." in local
        or len(local) > 64
        or "\n" in row["first_name"] + row["last_name"]
        or (row["lane"] == "bulk" and not row["renewal_date"])
    )


def plain_list(path: Path, each: int) -> Path:
    """Rows of every lane at a server that takes everything."""
    taken: Counter[str] = Counter()
    rows = []
    for row in committed_rows():
        if row["email"].endswith("@contoso.test") and taken[row["lane"]] < each:
            taken[row["lane"]] += 1
            rows.append(row)
    return write(path, rows)


def test_without_senders_one_mail_is_sent_and_the_demo_stops(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(drive, "PROBE_PATIENCE", 1.0)

    status = demo.run(environment, csv=plain_list(tmp_path / "few.csv", 3))

    assert status == demo.NOT_RUN
    assert "did not reach the sink within 1 s. Nothing else was sent." in capsys.readouterr().err


def test_every_recipient_is_accounted_for(
    system: System, environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The mail that the demo before left in the queue arrives now, and is none of this one's."""
    assert system.sink is not None
    system.start_sender()
    system.sink.play({"domains": ["before.test"], "latency_ms": 1})
    path, rows = short_list(tmp_path / "short.csv")

    status = demo.run(environment, csv=path, timeout=60)

    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "LEDGER BALANCES"
    assert status == demo.BALANCED
    _, _, *lanes, everything = (line.split() for line in lines[-7:-1])
    assert [line[0] for line in lanes] == [lane.value for lane in Lane]
    columns = ["lane", "accepted", "delivered", "bounced", "failed", "expired", "suppressed", "canceled"]
    total = dict(zip([*columns, "broker", "sink", "twice", "lost"], everything, strict=True))
    refused = [re.match(r"  row +\d+ \((\w+)\): (.+)", line) for line in lines]
    found = Counter(match[1] for match in refused if match)
    assert found == Counter(row.lane.value for row in roster.WRONG)
    assert int(total["accepted"]) == rows - len(roster.WRONG)
    assert min(int(total[end]) for end in ("delivered", "bounced", "failed", "expired")) > 0
    assert (total["sink"], total["twice"], total["lost"], total["broker"]) == (total["delivered"], "0", "0", "0")
    assert any(line.startswith("Copies whose final dot got no answer") for line in lines)
    script = httpx.get(f"{environment['MAILWARREN_SINK_URL']}/script").json()
    assert [persona["domains"] for persona in script["personas"]] == [["before.test"]]


def spoil(monkeypatch: pytest.MonkeyPatch, before: Callable[[Drive], Any]) -> None:
    """Let something happen between the last end and the accounts."""
    original = Drive.account

    async def account(self: Drive, *, timed_out: bool) -> Outcome:
        await before(self)
        return await original(self, timed_out=timed_out)

    monkeypatch.setattr(Drive, "account", account)


def test_a_row_that_is_lost_and_mails_that_the_sink_denies_do_not_balance(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def lose(spoilt: Drive) -> None:
        connection = await asyncpg.connect(dsn(environment["MAILWARREN_DATABASE_URL"]))
        first = spoilt._ids()[0]
        assert await connection.execute("DELETE FROM deliveries WHERE email_id = $1", first) == "DELETE 1"
        await connection.close()
        async with httpx.AsyncClient(base_url=environment["MAILWARREN_SINK_URL"]) as client:
            await client.delete("/messages")

    spoil(monkeypatch, lose)

    status = demo.run(environment, csv=plain_list(tmp_path / "few.csv", 3), timeout=30)

    out = capsys.readouterr().out
    assert status == demo.UNBALANCED
    assert out.splitlines()[-1] == (
        "LEDGER DOES NOT BALANCE: 1 accepted, without a row in Postgres; 8 delivered, and not at the sink"
    )
    assert out.count("@contoso.test>") == 0
    assert len(re.findall(r"to \S+@contoso\.test: 0 copies", out)) == 8


def test_when_time_is_over_what_hangs_is_named(
    system: System,
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    original = Drive.post_and_wait

    async def post_and_wait(self: Drive, board: Board) -> bool:
        system.services["sender"].kill()
        return await original(self, board)

    monkeypatch.setattr(Drive, "post_and_wait", post_and_wait)
    monkeypatch.setattr(drive, "STILL", 0.5)

    status = demo.run(environment, csv=plain_list(tmp_path / "few.csv", 3), timeout=0.5)

    out = capsys.readouterr().out
    assert status == demo.UNBALANCED
    assert "TIME IS OVER" in out
    # The first mail has reached the sink; whether its sender still reported that is a matter of milliseconds.
    hanging = len(re.findall(r"contoso\.test: state accepted after attempt 0", out))
    assert hanging in {8, 9}
    verdict = rf"LEDGER DOES NOT BALANCE: {hanging} without an end; \d+ messages still in the broker"
    assert re.fullmatch(verdict, out.splitlines()[-1])
