"""Each alert is a rule, a promtool test and a runbook; promtool itself checks and runs them."""

import ast
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailwarren.contracts.lanes import BUDGETS
from mailwarren.sender.domain.retry import POLICIES

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "grafana" / "rules"
ALERTS = ROOT / "deploy" / "grafana" / "alerts"
RUNBOOKS = ROOT / "docs" / "runbooks"
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]
NAMES = sorted(path.stem for path in ALERTS.glob("*.yaml") if not path.name.endswith(".test.yaml"))


def promtool(*arguments: str | Path, cwd: Path = ALERTS) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["promtool", *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )


def alert(name: str) -> dict[str, Any]:
    groups = yaml.safe_load((ALERTS / f"{name}.yaml").read_text())["groups"]
    assert [group["name"] for group in groups] == [name]
    (rule,) = groups[0]["rules"]
    return rule


def cases(name: str) -> list[dict[str, Any]]:
    tests = yaml.safe_load((ALERTS / f"{name}.test.yaml").read_text())["tests"]
    return [one for case in tests for one in case["alert_rule_test"]]


def test_rules_alerts_tests_and_runbooks_are_the_same_names() -> None:
    tests = sorted(path.name.removesuffix(".test.yaml") for path in ALERTS.glob("*.test.yaml"))
    pages = sorted(path.stem for path in RUNBOOKS.glob("*.md") if path.stem != "README")
    assert (tests, pages) == (NAMES, NAMES)
    assert len(NAMES) > 30


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_says_how_urgent_it_is_what_it_is_and_where_to_read(name: str) -> None:
    rule = alert(name)
    assert rule["alert"] == name
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert "{{" not in rule["annotations"]["summary"]
    if "absent(" not in rule["expr"]:
        assert "{{" in rule["annotations"]["description"], "the description has no value of its alert"


@pytest.mark.parametrize("name", NAMES)
def test_a_promtool_test_shows_it_fire_with_all_it_says_and_not_fire(name: str) -> None:
    rule, found = alert(name), cases(name)
    fired = [expected for one in found for expected in one.get("exp_alerts") or []]
    quiet = [one for one in found if not one.get("exp_alerts")]
    assert all(one["alertname"] == name for one in found)
    assert fired and quiet
    for expected in fired:
        assert expected["exp_labels"]["severity"] == rule["labels"]["severity"]
        assert set(expected["exp_annotations"]) == set(rule["annotations"])
        assert "{{" not in str(expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_runbook_has_its_sections_and_its_links_lead_somewhere(name: str) -> None:
    text = (RUNBOOKS / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n\n{alert(name)['annotations']['summary']}.")
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    assert parts[1::2] == SECTIONS
    assert all(len(part.split()) > 5 for part in parts[2::2])
    links = re.findall(r"\]\(([^)#]+)", text)
    assert [link for link in links if not (RUNBOOKS / link).exists()] == []


def test_runbooks_name_log_lines_and_commands_that_there_are() -> None:
    sources = "".join(path.read_text() for path in ROOT.glob("services/*/src/**/*.py"))
    wrong = []
    for page in RUNBOOKS.glob("*.md"):
        text = page.read_text()
        lines = re.findall(
            r"`((?:ingest|sender|tracker)\.[a-z_]+\.[a-z_]+|(?:worker|scheduler)\.[a-z_]+(?:\.[a-z_]+)?)`", text
        )
        wrong += [f"{page.name}: no log line {line}" for line in lines if f'"{line}"' not in sources]
        settings = re.findall(r"`(MAILWARREN_[A-Z_]+)`", text)
        operations = (ROOT / "docs" / "operations.md").read_text()
        wrong += [f"{page.name}: no setting {name}" for name in settings if name not in operations]
        for command in re.findall(r"`mailwarren ([a-z]+)", text):
            if not re.search(rf'"{command}"', sources):
                wrong.append(f"{page.name}: no command mailwarren {command}")
        targets = re.findall(r"`make ([a-z-]+)", text)
        makefile = (ROOT / "Makefile").read_text()
        wrong += [f"{page.name}: no target {name}" for name in targets if f"\n{name}:" not in makefile]
    assert wrong == []


def declared_labels() -> dict[str, set[str]]:
    """The labels of each metric of ours, by the names of its samples."""
    found: dict[str, set[str]] = {}
    for path in (*ROOT.glob("services/*/src/**/*.py"), *ROOT.glob("libs/runtime/src/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"Counter", "Gauge", "Histogram"}:
                name = str(node.args[0].value) if node.args and isinstance(node.args[0], ast.Constant) else ""
                lists = [one.elts for one in node.args if isinstance(one, ast.List | ast.Tuple)]
                labels = {str(one.value) for elements in lists for one in elements if isinstance(one, ast.Constant)}
                if name.startswith("mailwarren_"):
                    found[name] = labels
                    found |= {f"{name}_{end}": {*labels, "le"} for end in ("bucket", "count", "sum")}
    return found


def test_a_rule_asks_only_for_labels_that_its_metric_has() -> None:
    known = declared_labels()
    asked = []
    for path in (*RULES.glob("*.yaml"), *(ALERTS / f"{name}.yaml" for name in NAMES)):
        for name, inside in re.findall(r"(?<![\w:])(mailwarren_\w+)\{([^}]*)\}", path.read_text()):
            asked += [(path.name, name, label) for label in re.findall(r"(\w+)\s*[!=]=?~?\"", inside)]
    assert len(asked) > 20
    assert [one for one in asked if one[2] not in known[one[1]]] == []


def test_promtool_accepts_every_rule() -> None:
    done = promtool("check", "rules", *sorted(RULES.glob("*.yaml")), *(ALERTS / f"{name}.yaml" for name in NAMES))
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_sees_every_alert_fire_and_not_fire() -> None:
    done = promtool("test", "rules", *(f"{name}.test.yaml" for name in NAMES))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("SUCCESS") == len(NAMES)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("MailwarrenMissingQueues", "> 0", "> 2"),  # it cannot fire in its test
        ("MailwarrenMissingQueues", "> 0", ">= 0"),  # it fires when all is well
        ("MailwarrenMissingQueues", "severity: critical", "severity: warning"),
        ("MailwarrenMissingQueues", "mailwarren_ingest_missing_queues", "mailwarren_ingest_queues_missing"),
    ],
)
def test_a_broken_alert_fails_its_test(tmp_path: Path, name: str, old: str, new: str) -> None:
    for path in ALERTS.glob(f"{name}*.yaml"):
        shutil.copy(path, tmp_path)
    rule = tmp_path / f"{name}.yaml"
    rule.write_text(rule.read_text().replace(old, new))
    done = promtool("test", "rules", f"{name}.test.yaml", cwd=tmp_path)
    assert done.returncode == 1, done.stdout
    assert f"alertname: {name}" in done.stdout + done.stderr


def test_overdue_goes_by_the_budgets_of_the_senders() -> None:
    assert {lane: policy.budget for lane, policy in POLICIES.items()} == BUDGETS
