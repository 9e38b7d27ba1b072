"""What the services cost a Prometheus, and it them: series do not grow with what is sent, and a scrape is cheap.

``make series`` runs it at full size: 100,000 mails to 10,000 domains.
"""

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mailwarren.devstack.harness.spread import send_to_domains
from mailwarren.devstack.harness.system import System, wait_for
from mailwarren.ingest.ops.jobs import JOBS

pytestmark = pytest.mark.e2e
SERVICES = ("ingest", "sender", "tracker", "webhooks", "worker", "scheduler")
MAILS = int(os.environ.get("MAILWARREN_SERIES_MAILS", "2000"))
"""Twice so many are sent, to twice so many domains."""
DOMAINS = int(os.environ.get("MAILWARREN_SERIES_DOMAINS", "500"))
MOST_SERIES = 5000
SCRAPES, EVERY, MOST_OF_A_CORE = 50, 15, 0.01


@pytest.fixture(scope="module")
def system(
    tmp_path_factory: pytest.TempPathFactory, rabbitmq: Any, postgres: Any, amqp_prefix: str
) -> Iterator[System]:
    made = System(
        tmp_path_factory.mktemp("system"),
        amqp_url=rabbitmq.amqp_url,
        database_url=postgres.database_url,
        prefix=amqp_prefix,
    )
    try:
        made.prepare()
        made.start_sink()
        made.start_ingest(wait=False)
        made.start_tracker(wait=False)
        made.start_webhooks(wait=False)
        made.start_sender(wait=False)
        made.start_worker(wait=False)
        made.start_scheduler(wait=False, env={f"MAILWARREN_{work.name}_EVERY": "1" for work in JOBS})
        made.wait_ready()
        yield made
    finally:
        made.close()


def scraped(system: System, name: str) -> str:
    return system.metrics(name)


def series(text: str) -> Counter[str]:
    """How many of each name."""
    return Counter(sample.name for family in text_string_to_metric_families(text) for sample in family.samples)


def counts(system: System) -> dict[str, Counter[str]]:
    return {name: series(scraped(system, name)) for name in SERVICES}


def test_series_are_counted_by_name() -> None:
    text = '# TYPE a counter\na_total{x="1"} 1\na_total{x="2"} 1\n# TYPE b gauge\nb 0\n'
    assert series(text) == {"a_total": 2, "b": 1}


def test_a_process_says_that_it_is_one_service(system: System) -> None:
    """Else a scheduler would hide that the API is gone."""
    for name in SERVICES:
        lines = [line for line in scraped(system, name).splitlines() if line.startswith("mailwarren_service_info{")]
        assert lines == [f'mailwarren_service_info{{component="{name}"}} 1.0']


def test_series_do_not_grow_with_domains(system: System) -> None:
    jobs = "mailwarren_ops_done_timestamp_seconds"
    wait_for(lambda: series(scraped(system, "scheduler"))[jobs] == len(JOBS), 20, "every job to have been done")
    send_to_domains(system, MAILS, 0, DOMAINS)
    before = counts(system)
    send_to_domains(system, MAILS, DOMAINS, DOMAINS)
    after = counts(system)
    totals = {name: after[name].total() for name in SERVICES}
    print(f"series after {2 * MAILS} mails to {2 * DOMAINS} domains: {totals}")
    assert max(totals.values()) < MOST_SERIES
    # The same kinds of outcome again: nothing has a label of its own for a domain, an address or a mail.
    assert {name: dict(after[name] - before[name]) for name in SERVICES} == {name: {} for name in SERVICES}


def test_scraping_costs_less_than_a_hundredth_of_a_core(system: System) -> None:
    send_to_domains(system, 200, 0, 20)
    shares = {}
    for name in SERVICES:
        process = psutil.Process(system.services[name].pid)

        def spent(of: psutil.Process = process) -> float:
            times = of.cpu_times()
            return float(times.user + times.system)

        with httpx.Client(timeout=10) as client:
            begin = spent()
            for _ in range(SCRAPES):
                client.get(system.metrics_url(name)).raise_for_status()
            shares[name] = (spent() - begin) / SCRAPES / EVERY
    told = {name: f"{share:.3%}" for name, share in shares.items()}
    print(f"CPU of a scrape every {EVERY} s, as a share of a core: {told}")
    assert max(shares.values()) < MOST_OF_A_CORE
