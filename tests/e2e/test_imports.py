"""Imports by real processes: killed, stopped and without their database in the middle; and large ones in flat memory.

``make import-check`` runs the last test with a million rows; ``make test`` with fewer.
"""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from kombu import Connection

from mailwarren.contracts.codec import encode_order, order_headers
from mailwarren.contracts.order import Order, Work
from mailwarren.contracts.topology import OPS_KEY, Topology
from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e

MEASURED = os.environ.get("MAILWARREN_IMPORT_ROWS")
ROWS = int(MEASURED or "20000")
NOTE = "" if MEASURED else "x" * 4_000
"""In a column that nobody wants: fewer rows, and yet a file that is larger than what a worker may grow by."""
GROWTH = 60e6
"""Bytes that a worker may take for an import, however long it is: its window, two batches, and what Python keeps."""
LAG = 0.1 if MEASURED else 0.5
"""Seconds that the API's loop may be held up by an upload; beside other tests it is held up by them too."""
OFTEN = {"MAILWARREN_SCHEDULER_INTERVAL": "0.1"}
CRASHING = Path(__file__).parent / "crashing"


def write_people(path: Path, rows: int, note: str = "") -> None:
    """Every tenth has the address of another in other letter case, every hundredth none."""
    with path.open("w") as file:
        file.write("email,first name,last name,city,note\n")
        for n in range(rows):
            person = n - 5 if n % 10 == 7 else n
            address = "nobody" if n % 100 == 99 else f"Person{person}@d{person % 50}.example"
            file.write(f"{address.upper() if n % 10 == 7 else address},First{n},Last{n},City{n % 300},{note}\n")


def upload(system: System, path: Path, **query: str) -> str:
    assert system.api
    with path.open("rb") as file:
        answer = system.api.post(
            "/contacts/imports", content=file, params=query, headers={"content-type": "text/csv"}, timeout=120
        )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def shown(system: System, ident: str) -> dict[str, Any]:
    assert system.api
    return dict(system.api.get(f"/contacts/imports/{ident}").json())


def come(system: System, ident: str, rows: int, within: float = 60) -> None:
    wait_for(lambda: shown(system, ident)["counts"]["total"] >= rows, within, f"{rows} rows", every=0.05)


def expected(rows: int) -> dict[str, int]:
    failed = rows // 100
    doubled = sum(n % 10 == 7 for n in range(rows))
    return {
        "total": rows, "created": rows - failed - doubled, "updated": 0, "skipped": doubled, "failed": failed,
    }  # fmt: skip


def same_order_again(system: System, ident: str) -> None:
    [row] = system.query("SELECT order_id FROM contact_imports WHERE id = $1", ident)
    order = Order(id=row["order_id"], work=Work.IMPORT, due_at=0.0, subject=ident)  # type: ignore[arg-type]
    with Connection(system.amqp_url) as connection, connection.Producer() as producer:
        producer.publish(
            encode_order(order), exchange=Topology(system.prefix, 0.01).ops_tasks.name, routing_key=OPS_KEY,
            headers=order_headers(order), delivery_mode=2, content_type="application/json", content_encoding="utf-8",
        )  # fmt: skip


def start_slow_worker(system: System, name: str) -> None:
    """One with small batches, so that there is a middle of the import to be killed in."""
    own = {"PYTHONPATH": str(CRASHING), "MAILWARREN_METRICS_PORT": "0", "MAILWARREN_WORKER_NAME": name}
    system._start(name, [sys.executable, str(CRASHING / "crashing_worker.py")], own | {"IMPORT_BATCH": "100"})


def test_an_import_survives_worker_scheduler_and_database(
    system_with_own_postgres: System, own_postgres: Any, tmp_path: Path
) -> None:
    system, rows = system_with_own_postgres, 40_000
    system.start_ingest(wait=False)
    start_slow_worker(system, "worker")
    system.start_scheduler(wait=False, env=OFTEN)
    system.wait_ready()
    write_people(tmp_path / "people.csv", rows)
    ident = upload(system, tmp_path / "people.csv")
    come(system, ident, 2_000)
    system.services["worker"].kill()
    system.forget_service("worker")
    standing = shown(system, ident)["counts"]["total"]
    assert 0 < standing < rows, "it was killed in the middle"
    start_slow_worker(system, "heir")
    come(system, ident, standing + 2_000)
    same_order_again(system, ident)
    come(system, ident, standing + 6_000)
    system.services["scheduler"].kill()
    system.forget_service("scheduler")
    own_postgres.stop()
    time.sleep(1)
    own_postgres.start()
    wait_for(lambda: _answers(system, ident), 30, "the API with its database")
    assert shown(system, ident)["status"] == "in_progress"
    system.start_scheduler("scheduler2", wait=False, env=OFTEN)
    wait_for(lambda: shown(system, ident)["status"] == "completed", 90, "the import's end", every=0.2)
    assert shown(system, ident)["counts"] == expected(rows)
    [row] = system.query("SELECT count(*), count(DISTINCT email_key) AS keys FROM contacts")
    assert row["count"] == row["keys"] == expected(rows)["created"]
    [row] = system.query("SELECT count(*), min(number), max(number) FROM contact_import_errors")
    assert (row["count"], row["min"], row["max"]) == (rows // 100, 100, rows)


def _answers(system: System, ident: str) -> bool:
    assert system.api
    return system.api.get(f"/contacts/imports/{ident}").status_code == 200


@pytest.fixture(scope="module")
def importing(module_system: System) -> System:
    system = module_system
    system.start_ingest(wait=False)
    system.start_worker(wait=False)
    system.start_scheduler(wait=False, env=OFTEN)
    system.wait_ready()
    return system


def test_the_command_line_imports_a_file_and_brings_back_what_failed(importing: System, tmp_path: Path) -> None:
    system = importing
    assert system.api
    system.env |= {"MAILWARREN_API_URL": str(system.api.base_url).rstrip("/"), "MAILWARREN_API_KEY": system.token}
    file, failed = tmp_path / "people.csv", tmp_path / "failed.csv"
    file.write_bytes("Adresse;Größe\ncli@example.org;3\nnobody;4\n".encode("cp1252"))
    arguments = ("contacts", "import", str(file), "--map", "email=Adresse", "--encoding", "windows-1252")
    preview = system.command("mailwarren", *arguments, "--preview")
    assert '"encoding": "windows-1252"' in preview
    assert "`Adresse` is no address" in preview
    said = system.command("mailwarren", *arguments, "--upsert", "--errors", str(failed)).splitlines()
    assert said[-2] == "completed 100 %: 2 rows, 1 created, 0 updated, 0 skipped, 1 failed"
    assert said[-1].endswith(str(failed))
    assert "nobody" in failed.read_text("utf-8-sig")
    assert system.api.get("/contacts/cli@example.org").status_code == 200


def test_a_worker_that_is_told_to_stop_leaves_the_rest_to_another(importing: System, tmp_path: Path) -> None:
    system, rows = importing, 30_000
    file = tmp_path / "people.csv"
    file.write_text("email\n" + "".join(f"stop{n}@example.org\n" for n in range(rows)))
    ident = upload(system, file)
    come(system, ident, 1_000)
    system.start_worker("worker2", wait=False)
    system.services["worker"].signal(signal.SIGTERM)
    wait_for(lambda: shown(system, ident)["status"] == "completed", 60, "the import's end", every=0.2)
    assert system.services["worker"].process.wait(20) == 0
    system.forget_service("worker")
    assert shown(system, ident)["counts"] == {"total": rows, "created": rows, "updated": 0, "skipped": 0, "failed": 0}


def test_a_large_file_needs_no_more_memory_than_a_small_one(importing: System, tmp_path: Path) -> None:
    system = importing
    (worker,) = {"worker", "worker2"} & set(system.services)
    small, large = tmp_path / "small.csv", tmp_path / "large.csv"
    write_people(small, 2_000, NOTE)
    first = upload(system, small)
    wait_for(lambda: shown(system, first)["status"] == "completed", 30, "the small file", every=0.1)
    write_people(large, ROWS, NOTE)
    processes = {name: psutil.Process(system.services[name].pid) for name in ("ingest", worker)}
    before = {name: process.memory_info().rss for name, process in processes.items()}
    most = dict(before)
    began = time.monotonic()
    ident = upload(system, large, on_conflict="upsert")
    taken_in = time.monotonic() - began
    lag = loop_lag(system)

    def ended() -> bool:
        for name, process in processes.items():
            most[name] = max(most[name], process.memory_info().rss)
        return shown(system, ident)["status"] == "completed"

    began = time.monotonic()
    wait_for(ended, 60 + ROWS / 2_000, "the large file", every=0.25)
    took = time.monotonic() - began
    growth = {name: most[name] - before[name] for name in processes}
    told = ", ".join(f"{name} {most[name] / 1e6:.0f} MB, {growth[name] / 1e6:+.0f}" for name in processes)
    print(
        f"{ROWS:,} rows, {large.stat().st_size / 1e6:.0f} MB: taken in within {taken_in:.1f} s, imported in"
        f" {took:.1f} s ({ROWS / took:,.0f} rows/s); {told}; the API's loop was {lag * 1000:.0f} ms late at most"
    )
    counts = shown(system, ident)["counts"]
    assert (counts["total"], counts["failed"]) == (ROWS, ROWS // 100)
    assert growth[worker] < GROWTH
    assert growth["ingest"] < GROWTH / 2
    assert lag < LAG


def loop_lag(system: System) -> float:
    text = system.metrics("ingest")
    (line,) = [line for line in text.splitlines() if line.startswith("mailwarren_service_loop_lag_seconds{")]
    return float(line.split()[-1])
