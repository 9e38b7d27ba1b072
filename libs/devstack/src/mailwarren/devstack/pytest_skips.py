"""No test is skipped in silence: every skip is listed with its reason, and one that nobody allowed fails the run.

``--allowed-skips FILE`` turns it on. The file has a pattern of node ids on each line, and why it may be skipped:
``services/sender/tests/*test_mx.py::*  # needs an IPv6 loopback``.
"""

from fnmatch import fnmatchcase
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declares ``--allowed-skips``."""
    parser.addoption("--allowed-skips", metavar="FILE", help="fail when a test is skipped that FILE does not list")


def pytest_configure(config: pytest.Config) -> None:
    """Starts the ledger."""
    config.pluginmanager.register(SkipLedger(config), "mailwarren-skips")


def read_allowed(text: str) -> dict[str, str]:
    """Patterns and their reasons.

    Raises:
        ValueError: a line gives no reason.
    """
    allowed = {}
    for number, line in enumerate(text.splitlines(), 1):
        pattern, _, why = line.partition("#")
        if not pattern.strip():
            continue
        if not why.strip():
            raise ValueError(f"line {number} of the allowed skips says no reason after '#': {line!r}")
        allowed[pattern.strip()] = why.strip()
    return allowed


class SkipLedger:
    """Collects the skips of one run."""

    def __init__(self, config: pytest.Config) -> None:
        self._skips: dict[str, str] = {}
        path = config.getoption("--allowed-skips")
        self._allowed = read_allowed(Path(path).read_text()) if path else None

    @property
    def surprises(self) -> list[str]:
        """Skipped tests that no line allows."""
        if self._allowed is None:
            return []
        return [node for node in self._skips if not any(fnmatchcase(node, pattern) for pattern in self._allowed)]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test that skipped, itself or in its set-up. An expected failure is no skip."""
        if report.skipped and not hasattr(report, "wasxfail"):
            self._note(report.nodeid, report.longrepr)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that skipped as a whole."""
        if report.skipped:
            self._note(report.nodeid, report.longrepr)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A surprise fails the run."""
        if self.surprises and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The list."""
        if self._allowed is None or not self._skips:
            return
        terminalreporter.section("skips")
        surprises = set(self.surprises)
        for node, reason in sorted(self._skips.items()):
            mark = "NOT ALLOWED" if node in surprises else "allowed"
            terminalreporter.line(f"{mark}: {node}: {reason}")
        if surprises:
            terminalreporter.line("The run fails because of the skips that are not allowed.", red=True)

    def _note(self, node: str, longrepr: object) -> None:
        reason = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
        self._skips[node] = str(reason).removeprefix("Skipped: ")
