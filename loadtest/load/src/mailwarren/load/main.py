"""``mailwarren-load``: one command for a run of load, here or in a cluster.

``run`` starts Locust on this machine, alone or with workers; ``master`` is the Job of a cluster, which waits for
``worker`` pods. The key comes by the environment, ``MAILWARREN_API_KEY``: command lines can be read by others.
"""

import argparse
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import msgspec

from mailwarren.load import DONE, FAILED, INTERRUPTED, NOT_RUN
from mailwarren.load.account import Account, Known, settle, wait_settled
from mailwarren.load.api import Api, NotRun
from mailwarren.load.ledger import read
from mailwarren.load.place import MEANT, refusal
from mailwarren.load.plan import Plan, Scenario
from mailwarren.load.processes import Processes, head_arguments, locust_arguments

MASTER_PORT = 5557
"""Locust's own."""
_MARGIN = timedelta(hours=1)
"""The API's clock need not be this machine's."""
Options = argparse.Namespace


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the process's exit status."""
    options = _parser().parse_args(arguments)
    # A terminated run ends like an interrupted one, also where this process was started with SIGINT ignored.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        command: Callable[[Options], int] = options.command
        return command(options)
    except NotRun as error:
        print(f"\n{error}", file=sys.stderr, flush=True)
        return NOT_RUN
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr, flush=True)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mailwarren-load", description="Load on Mailwarren's API, with Locust.")
    parser.add_argument("--locustfile", type=Path, default=Path(__file__).parents[4] / "locustfile.py")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command, text in (
        ("run", _run, "on this machine"),
        ("master", _run, "wait for workers, and lead them"),
        ("worker", _work, "be led by a master"),
    ):
        one = commands.add_parser(name, help=text, description=text)
        one.set_defaults(command=command, role=name)
        one.add_argument("--url", default=os.environ.get("MAILWARREN_API_URL", ""), help="ends in /v1")
        one.add_argument("--sink", default=os.environ.get("MAILWARREN_SINK_URL", ""), help="the sink's HTTP side")
        one.add_argument("--scenario", type=Scenario, choices=list(Scenario), default=Scenario.MIXED)
        one.add_argument("--users", type=_positive, default=20)
        one.add_argument("--rate", type=float, help="mails a second of all users together")
        one.add_argument("--time", type=_positive, default=60, help="seconds")
        one.add_argument("--most", type=_positive, default=10_000, help="recipients of the largest bulk call")
        one.add_argument("--seed", type=int, default=20_260_601)
        one.add_argument("--run", default="", help="name in every mail's metadata")
        one.add_argument("--folder", type=Path, default=Path(), help="for ledger, reports and logs")
        one.add_argument("--workers", type=int, default=0, help="processes; 0: one process does it all")
        one.add_argument("--web", default="", metavar="HOST:PORT", help="Locust's web page")
        one.add_argument("--metrics", default="", metavar="HOST:PORT", help="/metrics for Prometheus")
        one.add_argument("--master-host", default="127.0.0.1")
        one.add_argument("--ready-within", type=float, default=5, help="seconds for the API to be there")
        one.add_argument("--patience", type=float, default=60, help="seconds without an end more")
        one.add_argument("--no-account", action="store_true", help="somebody else makes it")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 10_000_000:  # noqa: PLR2004
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def _run(options: Options) -> int:
    begun = datetime.now(UTC)
    key = _key(options)
    options.folder.mkdir(parents=True, exist_ok=True)
    with Api(options.url, key) as api:
        plan = _prepared(options, api)
        _say_plan(options, plan)
        status, interrupted = _drive(options, plan)
        if options.no_account:
            return INTERRUPTED if interrupted else status
        balances = _account(options, plan, api, begun - _MARGIN)
    if interrupted:
        return INTERRUPTED
    return DONE if balances and status == DONE else FAILED


def _work(options: Options) -> int:
    """Becomes Locust: signals are for it."""
    _key(options)
    with Api(options.url, os.environ["MAILWARREN_API_KEY"]) as api:
        plan = _prepared(options, api)
    command = locust_arguments(plan, options.locustfile, options.url)
    command += ["--worker", "--master-host", options.master_host, "--master-port", str(MASTER_PORT)]
    os.execve(command[0], command, {**os.environ, **plan.environment()})  # noqa: S606


def _key(options: Options) -> str:
    key = os.environ.get("MAILWARREN_API_KEY", "")
    if not options.url or not key:
        raise NotRun("MAILWARREN_API_URL (or --url) and MAILWARREN_API_KEY say which system: `make up` starts one.")
    options.url = options.url.rstrip("/")
    options.sink = options.sink.rstrip("/")
    if why := refusal(options.url, meant=os.environ.get(MEANT) == "1"):
        raise NotRun(why)
    return key


def _prepared(options: Options, api: Api) -> Plan:
    """The plan, once the API answers, and mail was seen to end at the sink if there is one."""
    run = options.run or f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}"
    api.wait_ready(options.ready_within)
    if options.sink:
        api.probe(f"{run}-{socket.gethostname()[-20:].lower()}", options.sink)
    return Plan(
        run=run,
        scenario=options.scenario,
        users=options.users,
        rate=options.rate,
        seconds=0 if options.web else options.time,
        most=min(options.most, 10_000),
        seed=options.seed,
        real_names=bool(options.sink),
        folder=options.folder.resolve(),
        metrics=options.metrics,
    )


def _say_plan(options: Options, plan: Plan) -> None:
    pace = "each at its own pace" if plan.rate is None else f"{plan.rate:g} mails/s together"
    how = f"{options.workers} workers" if options.workers else "one process"
    lasts = "until ^C" if not plan.seconds else f"{plan.seconds} s"
    lines = [
        f"==> {plan.scenario}: {plan.users} users, {pace}, {lasts}, {how}; run {plan.run}",
        f"    API {options.url}",
        "    A first mail was seen at the sink: the providers' own domain names are used."
        if plan.real_names
        else "    No sink is known, so all recipients are at .test, where no mail server is.",
    ]
    if options.web:
        lines.append(f"==> Open http://{options.web} and start the users there. ^C ends it.")
    print("\n".join(lines), flush=True)


def _drive(options: Options, plan: Plan) -> tuple[int, bool]:
    """Locust from its start to its end; its exit status, and whether it was interrupted."""
    common = locust_arguments(plan, options.locustfile, options.url)
    head = [*common, *head_arguments(plan, web=options.web)]
    with Processes(plan.environment(), plan.folder) as processes:
        if options.role == "master":
            head += ["--master", "--master-bind-port", str(MASTER_PORT), "--expect-workers", str(options.workers or 1)]
            processes.start_head([*head, "--expect-workers-max-wait", "600"])
        elif options.workers:
            port = str(_free_port())
            bind = ["--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port]
            processes.start_head([*head, *bind, "--expect-workers", str(options.workers)])
            for _ in range(options.workers):
                processes.start_worker([*common, "--worker", "--master-host", "127.0.0.1", "--master-port", port])
        else:
            processes.start_head(head)
        return processes.wait()


def _account(options: Options, plan: Plan, api: Api, since: datetime) -> bool:
    yes, silences = read(plan.folder)
    ids = {one.id for one in yes}
    print("==> Counting: the API's answers, its list of emails" + (", the sink" * bool(options.sink)), flush=True)

    def look() -> Account:
        copies = _copies(options.sink) if options.sink else None
        known = {
            one.id: Known(one.last_event, None if copies is None else copies[one.message_id.strip("<>")])
            for one in api.emails(plan.run, since, ids)
        }
        return settle(yes, silences, known)

    begun = time.monotonic()
    account = wait_settled(look, options.patience, lambda line: print(f"    {line}", flush=True))
    print(f"    counted for {time.monotonic() - begun:.1f} s", flush=True)
    print("\n".join(account.lines()), flush=True)
    return account.balances


def _copies(sink_url: str) -> Counter[str]:
    """Copies answered with 250 at the sink, by Message-ID."""
    found: Counter[str] = Counter()
    try:
        with httpx.stream("GET", f"{sink_url}/pairs", timeout=60) as answer:
            for line in answer.raise_for_status().iter_lines():
                if line:
                    row = msgspec.json.decode(line)
                    found[row[0].strip("<>")] += row[2]
    except (httpx.HTTPError, msgspec.DecodeError) as error:
        raise NotRun(f"The sink at {sink_url} cannot be asked for its pairs: {error}") from error
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
