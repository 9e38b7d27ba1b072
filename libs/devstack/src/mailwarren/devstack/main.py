"""``devstack``: the command line behind the Makefile."""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence

from mailwarren.devstack.env_file import variables
from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.stack import Stack
from mailwarren.devstack.state import LocalDir
from mailwarren.devstack.system import environment
from mailwarren.devstack.terminal import say

DEMO_RETRY_SCALE = 0.01


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the process's exit status."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a terminated `make up` cleans up like a ^C
    stack = Stack(LocalDir.of_clone())
    command: Callable[[Stack, argparse.Namespace], int] = options.run
    try:
        return command(stack, options)
    except DevstackError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `make status | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="devstack", description="The whole system on one machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[Stack, argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    add("demo", _demo, "bring everything up and send 10,000 personalised mails")
    add("up", _up, "start the whole system; SMTP_URL=smtp+starttls://user:pass@host:587 sends for real")
    add("down", _down, "stop it; its data stays")
    add("status", _status, "what runs")
    logs = add("logs", _logs, "follow the logs")
    logs.add_argument("name", nargs="?", help="of one process")
    send = add("send", _send, "send one mail through the API")
    send.add_argument("--to", required=True, metavar="ADDRESS")
    send.add_argument("--from", dest="sender", metavar="ADDRESS")
    scale = add("scale", _scale, "run so many sender processes for each lane, and so many workers")
    scale.add_argument("senders", type=int, nargs="?")
    scale.add_argument("--workers", type=int)
    load = add("load", _load, "load the running system with Locust, and account for every mail")
    load.add_argument("--serve", action="store_true", help="Locust's web page")
    load.add_argument("arguments", nargs=argparse.REMAINDER, metavar="-- ARGUMENTS", help="of mailwarren-load run")
    add("monitor", _monitor, "a private Prometheus on the running system, until ^C")
    add("clean", _clean, "stop it and delete what it keeps outside its folder")
    return parser


def _demo(stack: Stack, _options: argparse.Namespace) -> int:
    from mailwarren.devstack import demo

    at = stack.up(retry_scale=DEMO_RETRY_SCALE)
    return demo.run({**os.environ, **environment(at), **variables(at, stack.api_key())})


def _up(stack: Stack, options: argparse.Namespace) -> int:
    scale = float(os.environ.get("MAILWARREN_RETRY_SCALE") or 1)
    stack.up(smtp_url=os.environ.get("SMTP_URL") or None, retry_scale=scale)
    return _status(stack, options)


def _down(stack: Stack, _options: argparse.Namespace) -> int:
    say("Stopped." if stack.down() else "Nothing was running.")
    return 0


def _status(stack: Stack, _options: argparse.Namespace) -> int:
    processes = stack.supervisor.status().values()
    say(f"{'process':<18}{'state':<10}{'pid':>8}{'restarts':>10}{'up for':>10}")
    for one in processes:
        pid = "-" if one.pid is None else str(one.pid)
        say(f"{one.name:<18}{one.state:<10}{pid:>8}{one.restarts:>10}{_duration(one.uptime):>10}")
    at = stack.addresses()
    if at is not None:
        say()
        say(f"API      {at.api_url}   (docs: {at.api_url.removesuffix('/v1')}/docs)")
        say(f"Sink     {at.sink_url}")
        say(f"Mail to  {'the sink: nothing leaves this machine' if at.smtp_url is None else 'your relay (SMTP_URL)'}")
        say(f"Keys     . {os.path.relpath(stack.local.env)}")
    return 0 if all(one.state == "running" for one in processes) else 1


def _logs(stack: Stack, options: argparse.Namespace) -> int:
    paths = [stack.local.log(options.name)] if options.name else sorted(stack.local.logs.glob("*.log"))
    if not paths or not all(path.exists() for path in paths):
        names = ", ".join(path.stem for path in sorted(stack.local.logs.glob("*.log")))
        raise DevstackError(f"There is no such log. There are: {names or 'none yet'}.")
    return subprocess.run(["tail", "-n", "20", "-F", *map(str, paths)], check=False).returncode


def _send(stack: Stack, options: argparse.Namespace) -> int:
    from mailwarren.devstack.send import send

    return send(stack, options.to, options.sender)


def _scale(stack: Stack, options: argparse.Namespace) -> int:
    stack.scale(options.senders, options.workers)
    return _status(stack, options)


def _load(stack: Stack, options: argparse.Namespace) -> int:
    from mailwarren.devstack.load import load

    return load(stack, [one for one in options.arguments if one != "--"], web=options.serve)


def _monitor(stack: Stack, _options: argparse.Namespace) -> int:
    from mailwarren.devstack.monitor import monitor

    return monitor(stack)


def _clean(stack: Stack, _options: argparse.Namespace) -> int:
    stack.clean()
    return 0


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
