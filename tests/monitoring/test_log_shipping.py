"""The samples of ``deploy/logs``: their programs compiled and run by Vector's own language over lines of a real log."""

import json
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml

pyvrl = pytest.importorskip("pyvrl", reason="pyvrl has no wheel for this Python")

LINES = """
import structlog
from mailwarren.runtime.logs import configure_logging
configure_logging("sender")
log = structlog.get_logger()
structlog.contextvars.bind_contextvars(trace_id="4bf92f3577b34da6a3ce929d0e0e4736", lane="high")
log.info("sender.attempt.ended", attempt=2, code=250)
try:
    raise KeyError("x")
except KeyError:
    log.exception("sender.parcel.error")
log.info("sender.drained", reasons={"a": [1, None]})
"""
TEXT = "Traceback (most recent call last):"


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return subprocess.run([sys.executable, "-c", LINES], capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.fixture(scope="module")
def samples(root) -> dict[str, Any]:
    return {path.stem: yaml.safe_load(path.read_text()) for path in sorted((root / "deploy" / "logs").glob("*.yaml"))}


@pytest.fixture(scope="module")
def root(request: pytest.FixtureRequest) -> Any:
    return request.config.rootpath


def shipped(sample: Any, line: str) -> Any:
    """An event after the sample's program, from a line as Vector reads it from a pod's file."""
    program = pyvrl.Transform(sample["transforms"]["mailwarren"]["source"] + "\n.")
    pod = {"pod_name": "mw-sender-high-0", "pod_namespace": "mail"}
    return program.remap({"message": line, "timestamp": "when it was read", "kubernetes": pod})


def test_each_part_takes_from_one_that_is_there(samples) -> None:
    assert set(samples) == {"vector-loki", "vector-elasticsearch"}
    for sample in samples.values():
        there = set(sample["sources"]) | set(sample["transforms"])
        parts = [*sample["transforms"].values(), *sample["sinks"].values()]
        assert all(set(part["inputs"]) <= there for part in parts)


def test_pods_are_those_of_the_chart(samples, root) -> None:
    labels = (root / "deploy" / "helm" / "mailwarren" / "templates" / "_helpers.tpl").read_text()
    assert "app.kubernetes.io/name: mailwarren" in labels
    assert {sample["sources"]["pods"]["extra_label_selector"] for sample in samples.values()} == {
        "app.kubernetes.io/name=mailwarren"
    }


def test_loki_gets_the_line_as_it_is_and_labels_of_few_values(samples, lines) -> None:
    sample = samples["vector-loki"]
    made = shipped(sample, lines[0])
    assert made["message"] == lines[0]
    assert made["timestamp"].isoformat().replace("+00:00", "Z") == json.loads(lines[0])["timestamp"]
    sink = sample["sinks"]["loki"]
    assert set(sink["labels"]) == {"app", "namespace", "service", "level"}
    assert (made["service"], made["level"], made["event"]) == ("sender", "info", "sender.attempt.ended")
    assert made["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    templates = [*sink["labels"].values(), *sink["structured_metadata"].values()]
    for path in re.findall(r"\{\{ ([\w.]+) \}\}", " ".join(templates)):
        value = made
        for part in path.split("."):
            value = value[part]
        assert isinstance(value, str), path


def test_elasticsearch_gets_the_common_schema_and_our_fields_below_ours(samples, lines) -> None:
    made = shipped(samples["vector-elasticsearch"], lines[0])
    assert made.pop("@timestamp").isoformat().replace("+00:00", "Z") == json.loads(lines[0])["timestamp"]
    assert made == {
        "message": "sender.attempt.ended",
        "log": {"level": "info"},
        "service": {"name": "sender"},
        "trace": {"id": "4bf92f3577b34da6a3ce929d0e0e4736"},
        "kubernetes": {"pod": {"name": "mw-sender-high-0"}, "namespace": "mail"},
        "mailwarren": {"attempt": 2, "code": 250, "lane": "high"},
    }
    failed = shipped(samples["vector-elasticsearch"], lines[1])
    assert failed["error"]["stack_trace"].endswith("KeyError: 'x'")
    assert shipped(samples["vector-elasticsearch"], lines[2])["mailwarren"]["reasons"]["a"][0] == 1


def test_what_is_no_line_of_ours_is_kept_as_text(samples) -> None:
    for sample in samples.values():
        assert shipped(sample, TEXT)["message"] == TEXT
        assert shipped(sample, "[1, 2]")["message"] == "[1, 2]"


def test_the_index_template_is_for_the_data_stream_and_its_fields(samples, root) -> None:
    template = json.loads((root / "deploy" / "logs" / "elasticsearch-template.json").read_text())
    stream = samples["vector-elasticsearch"]["sinks"]["elasticsearch"]["data_stream"]
    assert template["index_patterns"] == [f"{stream['type']}-{stream['dataset']}-*"]
    assert {"@timestamp", "message", "log", "service", "trace", "error", "mailwarren"} == set(
        template["template"]["mappings"]["properties"]
    )
