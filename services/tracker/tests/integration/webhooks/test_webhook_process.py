"""``tracker webhooks`` as a process: killed again and again, stopped, without its database, with a wrong key."""

import asyncio
import json
import os
import signal
import sys
import urllib.error
import urllib.request

import asyncpg
import pytest

from mailwarren.store import migrate
from mailwarren.store.engine import dsn

pytestmark = pytest.mark.postgres
COMMAND = (sys.executable, "-c", "from mailwarren.tracker.main import main; main(['webhooks'])")


class Process:
    """A process and its log."""

    def __init__(self, process, log):
        self.process, self.log = process, log

    @property
    def lines(self):
        whole, _, _ = self.log.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def get(self, path):
        (port,) = [line["metrics_port"] for line in self.lines if line["event"] == "tracker.start"]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    async def ready(self):
        if not any(line["event"] == "tracker.start" for line in self.lines):
            return False
        return (await asyncio.to_thread(self.get, "/readyz"))[0] == 200

    async def end(self, number):
        self.process.send_signal(number)
        async with asyncio.timeout(15):
            return await self.process.wait()


@pytest.fixture
async def start(database_url, hooks, tmp_path):
    """Starts a process with the keys of the tests."""
    keys = tmp_path / "keys"
    keys.write_text(f"# of the tests\n{hooks.key}\n")
    made = []

    async def begin(url=database_url, **settings):
        environment = os.environ | {
            "MAILWARREN_DATABASE_URL": url,
            "MAILWARREN_METRICS_HOST": "127.0.0.1",
            "MAILWARREN_METRICS_PORT": "0",
            "MAILWARREN_DATA_KEYS": str(keys),
            "MAILWARREN_PRIVATE_WEBHOOKS": "true",
            "MAILWARREN_WEBHOOKS_TIMEOUT": "1",
            **settings,
        }
        path = tmp_path / f"webhooks{len(made)}.log"
        with path.open("wb") as log:
            process = await asyncio.create_subprocess_exec(*COMMAND, env=environment, stdout=log, stderr=log)
        made.append(Process(process, path))
        return made[-1]

    yield begin
    for one in made:
        if one.process.returncode is None:
            await one.end(signal.SIGKILL)
        print(one.log.read_text()[-3000:])


async def test_killed_again_and_again_it_loses_no_event_and_an_event_keeps_its_id(
    start, hooks, receiver, eventually, database
):
    one = await receiver(delay=0.02)
    endpoint = await hooks.add(one.url)
    ids = await hooks.tell(endpoint, 600)
    for number in range(3):
        process = await start()
        await eventually(lambda n=number: len(set(one.ids)) > 100 * (n + 1), 20)
        assert await process.end(signal.SIGKILL) == -signal.SIGKILL
        assert (await hooks.states(endpoint)).get("success", 0) < 600
    # What the dead ones had in hand is due when their leases are over.
    await database.execute("UPDATE webhook_deliveries SET due_at = now() WHERE claim IS NOT NULL")
    await start()

    async def all_told():
        return await hooks.states(endpoint) == {"success": 600}

    await eventually(all_told, 30)
    assert set(one.ids) == set(ids)
    assert len(one.ids) - 600 <= 3 * 20, "more than what was on its way was told twice"


async def test_sigterm_finishes_what_is_on_its_way(start, hooks, receiver, eventually):
    one = await receiver(delay=0.4)
    endpoint = await hooks.add(one.url)
    await hooks.tell(endpoint, 40)
    process = await start()
    await eventually(lambda: len(one.got) >= 10)
    assert await process.end(signal.SIGTERM) == 0
    states = await hooks.states(endpoint)
    assert states["success"] == len(one.got) < 40
    assert process.lines[-1]["event"] == "tracker.stopped"


async def test_while_postgres_is_away_it_is_not_ready_and_afterwards_it_goes_on(
    start, hooks, receiver, own_postgres, eventually
):
    await migrate.upgrade(own_postgres.database_url)
    connection = await asyncpg.connect(dsn(own_postgres.database_url))
    there = type(hooks)(connection)
    one = await receiver(delay=0.3)
    endpoint = await there.add(one.url)
    process = await start(own_postgres.database_url)
    await eventually(process.ready, 20)
    await there.tell(endpoint, 12)
    await eventually(lambda: one.got)
    await connection.close()
    await asyncio.to_thread(own_postgres.stop)

    async def unready():
        return not await process.ready()

    await eventually(unready)
    assert process.get("/healthz")[0] == 200
    await asyncio.to_thread(own_postgres.start)
    connection = await asyncpg.connect(dsn(own_postgres.database_url))
    there = type(hooks)(connection)

    async def told():
        return await there.states(endpoint) == {"success": 12}

    await eventually(told, 40)
    await eventually(process.ready)
    assert len(set(one.ids)) == 12
    await connection.close()


async def test_it_shows_its_metrics_and_none_of_the_ledgers(start, hooks, receiver, eventually):
    one = await receiver()
    endpoint = await hooks.add(one.url)
    await hooks.tell(endpoint, 3)
    process = await start()
    await eventually(lambda: len(one.got) == 3)

    async def shown():
        text = (await asyncio.to_thread(process.get, "/metrics"))[1]
        return 'mailwarren_webhooks_ended_total{state="success"} 3.0' in text

    await eventually(shown)
    text = process.get("/metrics")[1]
    assert 'mailwarren_webhooks_tries_total{result="2xx"} 3.0' in text
    assert 'mailwarren_service_info{component="webhooks"} 1.0' in text
    assert 'component="tracker"' not in text
    assert "mailwarren_tracker_" not in text


async def test_a_file_that_holds_no_keys_ends_it_with_a_word_and_none_of_the_file(start, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_text("hunter2\n")
    process = await start(MAILWARREN_DATA_KEYS=str(wrong))
    assert await process.process.wait() == 1
    (line,) = process.lines
    assert (line["event"], line["level"]) == ("webhooks.keys.wrong", "critical")
    assert "hunter2" not in process.log.read_text()
