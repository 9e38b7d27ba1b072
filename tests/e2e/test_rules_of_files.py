"""A running sender obeys changed files of rules; one that it cannot obey changes nothing, and at the start ends it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mailwarren.devstack.harness.system import System, wait_for

pytestmark = pytest.mark.e2e

SLOW = {"domains": ["slow.test"], "dot_latency_ms": 200}
PURPLE = {"domains": ["no.test"], "rules": [{"stage": "rcpt", "code": 550, "text": "The purple room is shut"}]}


def put(path: Path, text: str) -> None:
    """In one step: a file half written might be obeyed."""
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").rename(path)


def metric(system: System, name: str) -> str:
    return next(line for line in system.metrics("sender").splitlines() if line.startswith(name))


def rules_lines(system: System, event: str) -> list[dict[str, Any]]:
    log = (system.root / "sender.log").read_text().splitlines()
    return [json.loads(line) for line in log if f"sender.rules.{event}" in line]


def test_files_are_obeyed_while_mail_flows(system: System, tmp_path: Path) -> None:
    shaping, replies = tmp_path / "shaping.toml", tmp_path / "replies.toml"
    put(shaping, "[sites.smarthost]\nconnections = 2\nmails_behind = 0\n")
    files = {"MAILWARREN_SHAPING_FILE": str(shaping), "MAILWARREN_REPLIES_FILE": str(replies)}
    sink = system.start_sink()
    sink.play(SLOW, PURPLE)
    system.start_tracker(wait=False)
    system.start_sender(wait=False, env=files)
    system.start_ingest(wait=False)
    system.wait_ready()

    promises = system.send_bulk([f"u{n}@slow.test" for n in range(300)])
    wait_for(lambda: sink.stats()["connections_open"] == 2, 10, "two connections")
    put(shaping, "[sites.smarthost]\nconnections = 9\nmails_behind = 0\n")
    wait_for(lambda: sink.stats()["connections_open"] == 9, 10, "nine connections")
    put(shaping, "[sites.smarthost]\nconnections = 'many'\n")
    wait_for(lambda: bool(rules_lines(system, "refused")), 10, "the refusal")
    assert sink.stats()["connections_open"] == 9
    assert metric(system, 'mailwarren_sender_rules_valid{file="shaping"}').endswith(" 0.0")
    put(replies, "[[rules]]\nclass = 'room_shut'\npermanent = 'bounced'\ntext = 'purple room'\n")
    wait_for(lambda: len(rules_lines(system, "loaded")) == 4, 10, "the reply rule")
    promises += system.send_bulk(["a@no.test"])
    assert system.settle(promises).balanced

    (refused,) = rules_lines(system, "refused")
    assert (refused["level"], refused["file"]) == ("error", "shaping")
    assert refused["reason"] == "[sites.smarthost] connections: Expected `int`, got `str`"
    (bounced,) = system.query("select state from deliveries where address = 'a@no.test'")
    assert bounced["state"] == "bounced"
    assert metric(system, 'mailwarren_sender_rules_valid{file="replies"}').endswith(" 1.0")


def test_a_start_with_a_file_that_cannot_be_obeyed_ends_with_one_clear_line(system: System, tmp_path: Path) -> None:
    path = tmp_path / "shaping.toml"
    put(path, "[sites.google]\nmessage_rate = '50/s'\n")
    sender = system.start_sender(wait=False, env={"MAILWARREN_SHAPING_FILE": str(path)})
    assert sender.process.wait(timeout=30) == 1
    (line,) = [line for line in sender.tail().splitlines() if "sender.start.failed" in line]
    error = json.loads(line)["error"]
    assert error.startswith(f"RulesError: {os.fspath(path)}: [sites.google] 'message_rate' is no key that this version")
