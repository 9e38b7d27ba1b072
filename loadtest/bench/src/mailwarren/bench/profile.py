"""``mailwarren-profile``: where the CPU of ingest, sender and tracker goes under load, sampled by py-spy.

A sample counts for the function that it was taken in ("own") and once for each function that is on its stack ("with
callees"). Time inside C extensions counts for the Python function that called them.
"""

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mailwarren.bench.result import Result

SAMPLES_A_SECOND = 250
TOP = 5


@dataclass
class Profile:
    """The samples of one process."""

    samples: int = 0
    own: Counter[str] = field(default_factory=Counter)
    with_callees: Counter[str] = field(default_factory=Counter)

    def add(self, stack: Sequence[str], count: int) -> None:
        """Count one collapsed stack, outermost function first."""
        self.samples += count
        self.own[stack[-1]] += count
        for function in set(stack):
            self.with_callees[function] += count


def read_collapsed(text: str) -> Profile:
    """Py-spy's raw format: ``outer;inner count`` a line."""
    profile = Profile()
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        if stack:
            profile.add(stack.split(";"), int(count))
    return profile


@contextmanager
def sampled(pids: Mapping[str, int]) -> Iterator[dict[str, Profile]]:
    """Profiles by the names of ``pids``, filled when the block ends.

    Raises:
        RuntimeError: py-spy may not look into processes here; the text says how to allow it.
    """
    program = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or "py-spy"
    found: dict[str, Profile] = {}
    with tempfile.TemporaryDirectory(prefix="mailwarren-profile-") as folder:
        files = {name: Path(folder) / f"{name}.txt" for name in pids}
        options = ("--format", "raw", "--function", "--nonblocking", "--rate", str(SAMPLES_A_SECOND))
        spies = {
            name: subprocess.Popen(
                [program, "record", *options, "--duration", "600", "--output", str(files[name]), "--pid", str(pid)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            for name, pid in pids.items()
        }
        try:
            yield found
        finally:
            for spy in spies.values():
                spy.send_signal(signal.SIGINT)
            errors = {name: spy.communicate(timeout=60)[1].decode() for name, spy in spies.items()}
        for name, file in files.items():
            if not file.exists():
                raise RuntimeError(
                    f"py-spy could not look into {name} (as root it may; else set kernel.yama.ptrace_scope to 0):\n"
                    f"{errors[name]}"
                )
            found[name] = read_collapsed(file.read_text())


def shown(title: str, profile: Profile, top: int) -> str:
    """The costliest functions with their shares of all samples."""
    lines = [f"{title}: {profile.samples} samples"]
    for label, counts in (("own", profile.own), ("with callees", profile.with_callees)):
        lines.append(f"  {label}")
        lines += [
            f"    {count / max(profile.samples, 1):6.1%}  {function}" for function, count in counts.most_common(top)
        ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Profile a bulk run and a run of single posts."""
    parser = argparse.ArgumentParser(prog="mailwarren-profile", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="more or fewer mails (default 1: 60,000 and 10,000)")
    parser.add_argument("--top", type=int, default=TOP, help=f"functions in each list (default {TOP})")
    asked = parser.parse_args(argv)

    from mailwarren.bench import ours
    from mailwarren.bench.stand import Stand, tidy_on_sigterm

    tidy_on_sigterm()
    with Stand() as stand:
        ours.warm_up(stand)
        runs: dict[str, Callable[[], Result]] = {
            "sender-bulk": lambda: ours.run_bulk(stand, int(60_000 * asked.scale)),
            "sender-normal": lambda: ours.run_single(stand, int(10_000 * asked.scale)),
        }
        for sender, run in runs.items():
            pids = {name: stand.system.services[name].pid for name in ("ingest", sender, "tracker")}
            with sampled(pids) as profiles:
                result = run()
            print(f"== {result.name}: {result.mails:,} mails, {result.rate:,.0f} a second under the profiler")
            for name, profile in profiles.items():
                print(shown(name, profile, asked.top))
    return 0
