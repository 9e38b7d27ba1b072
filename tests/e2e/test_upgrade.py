"""Two builds of the services on one database and one broker: forth and back under load, and a jump over a release."""

import itertools
import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from mailwarren.devstack.harness.counts import Promise
from mailwarren.devstack.harness.doubles import unexcused
from mailwarren.devstack.harness.system import System, wait_for
from mailwarren.devstack.loopback import no_tls
from mailwarren.store.history import own_revisions

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]
NEXT = "0999_next"
MIGRATION = f'''"""What the next release adds."""

import sqlalchemy as sa
from alembic import op

revision = "{NEXT}"
down_revision = "{own_revisions()[-1]}"
branch_labels = None
depends_on = None
step = "expand"


def upgrade() -> None:
    """Add."""
    op.add_column("deliveries", sa.Column("later", sa.Text))
'''


def build(at: Path, *, writes: int) -> dict[str, str]:
    """The next release: this source with a version more, a field more in every parcel, and a migration more.

    Returns:
        The environment that runs it.
    """
    sources = []
    for source in sorted([*ROOT.glob("libs/*/src"), *ROOT.glob("services/*/src")]):
        copy = at / source.relative_to(ROOT)
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
        sources.append(str(copy))
    contracts = at / "libs/contracts/src/mailwarren/contracts"
    change(contracts / "codec.py", "\nVERSION = 2\n", "\nVERSION = 3\n")
    change(contracts / "codec.py", "\nWRITTEN = 1\n", f"\nWRITTEN = {writes}\n")
    change(contracts / "codec.py", "_Kwargs(parcel)", '_Kwargs(msgspec.structs.replace(parcel, later="x"))')
    change(
        contracts / "parcel.py",
        "    asked_at: float | None = None\n",
        "    asked_at: float | None = None\n    later: str = ''\n",
    )
    versions = at / "libs/store/src/mailwarren/store/migrations/versions"
    (versions / f"{NEXT}.py").write_text(MIGRATION)
    return {"PYTHONPATH": ":".join(sources)}


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{path.name} has changed: {old!r}"
    path.write_text(text.replace(old, new))


class Load:
    """Calls the API all the time; a call that fails is repeated under its key, as a client would."""

    def __init__(self, system: System) -> None:
        self._system = system
        self.promises: list[Promise] = []
        self.errors: list[BaseException] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            for number in itertools.count():
                if self._stop.is_set():
                    return
                self._call(number)
                time.sleep(0.1)
        except BaseException as error:  # the test raises it
            self.errors.append(error)

    def _call(self, number: int) -> None:
        addresses = [f"u{number}-{n}@d{n % 8}.test" for n in range(40)]
        end = time.monotonic() + 40
        while True:
            try:
                self.promises += self._system.send_bulk(addresses, headers={"Idempotency-Key": f"call-{number}"})
            except httpx.HTTPError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)
            else:
                return

    def stop(self) -> list[Promise]:
        self._stop.set()
        self._thread.join(60)
        assert self.errors == []
        return self.promises

    def progress(self, more: int) -> None:
        """Return when so many more were promised."""
        there = len(self.promises)
        wait_for(lambda: len(self.promises) >= there + more or bool(self.errors), 30, "progress under load")


def roll(system: System, to: str, env: dict[str, str], away: str) -> None:
    """Each service one by one, as a Deployment does: the new one is ready before the old one ends."""
    system.start_sender(f"sender-{to}", env=env)
    assert system.services[f"sender-{away}"].stop() == 0
    system.start_tracker(f"tracker-{to}", env=env)
    assert system.services[f"tracker-{away}"].stop() == 0
    system.start_ingest(name=f"ingest-{to}", **env)
    assert system.services[f"ingest-{away}"].stop() == 0


def setup_with(system: System, env: dict[str, str]) -> list[dict[str, Any]]:
    """The next release's, or this one's, `mailwarren setup`."""
    before = dict(system.env)
    system.env.update(env)
    try:
        return [json.loads(line) for line in system.command("mailwarren", "setup", "--wait", "20").splitlines()]
    finally:
        system.env.clear()
        system.env.update(before)


def test_forth_and_back_under_load_nothing_is_lost(system: System, tmp_path: Path) -> None:
    newer = build(tmp_path / "next", writes=1)
    system.start_sink()
    assert system.sink
    system.sink.play({"domains": ["*"], "dot_latency_ms": 10})
    system.start_ingest(name="ingest-old", wait=False)
    system.start_tracker("tracker-old", wait=False)
    system.start_sender("sender-old", wait=False)
    system.wait_ready()
    load = Load(system)
    try:
        load.progress(200)
        steps = {line["step"]: line["detail"] for line in setup_with(system, newer)}
        assert steps["migrations"] == f"migrated from {own_revisions()[-1]} to {NEXT}"
        load.progress(200)
        roll(system, "new", newer, "old")
        load.progress(400)
        steps = {line["step"]: line["detail"] for line in setup_with(system, {})}
        assert f"the schema is at {NEXT}, newer than this version" in steps["migrations"]
        roll(system, "back", {}, "new")
        load.progress(200)
    finally:
        promises = load.stop()
    found = system.settle(promises, timeout=40)
    assert found.balanced, str(found)
    print(f"{len(promises)} mails, {len(found.doubled)} doubled")
    assert unexcused([promise for promise, _ in found.doubled], system.sink.records()) == []
    assert system.left_in_broker() == {}


def test_what_a_release_too_new_has_written_waits_for_one_that_reads_it(system: System, tmp_path: Path) -> None:
    newer = build(tmp_path / "next", writes=3)
    port_of = {"MAILWARREN_METRICS_PORT": "0"}
    system.start_sink()
    assert system.sink
    system.start_ingest(name="ingest-old", wait=False)
    tracker = system.start_tracker("tracker-old", wait=False)
    sender = system.start_sender("sender-old", wait=False)
    system.wait_ready()
    setup_with(system, newer)
    system.start_ingest(name="ingest-new", **newer, **port_of)
    system.services["ingest-old"].stop()
    promises = system.send_bulk([f"u{n}@d{n % 8}.test" for n in range(300)])
    ready = system.metrics_url("tracker-old").replace("/metrics", "/readyz")

    def reasons() -> dict[str, str]:
        return dict(httpx.get(ready, verify=no_tls()).json().get("reasons", {}))

    wait_for(lambda: "versions" in reasons(), 15, "the old tracker to say so")
    assert "version 3, this consumer knows 2" in reasons()["versions"]
    ladder = 'mailwarren_sender_ladder_total{lane="bulk",wait="newer"}'
    # Round and round, and no letter is dead.
    wait_for(lambda: _value(system.metrics("sender-old"), ladder) > 3 * 8, 20, "the ladder's rounds")
    assert system.sink.stats()["accepted"] == 0
    assert system.states(promises) == {}
    depths = {
        row["name"]: row["messages"]
        for row in map(json.loads, system.command("mailwarren", "queues", "--json").splitlines())
    }
    assert {
        name: count for name, count in depths.items() if name.endswith(("mail.dead", "tracker.dead")) and count
    } == {}
    system.start_sender("sender-new", env=newer)
    system.start_tracker("tracker-new", env=newer)
    found = system.settle(promises, timeout=40)
    assert found.balanced, str(found)
    assert found.doubled == []
    assert tracker.alive and sender.alive
    assert system.left_in_broker() == {}


def _value(text: str, sample: str) -> float:
    return next((float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(sample)), 0.0)
