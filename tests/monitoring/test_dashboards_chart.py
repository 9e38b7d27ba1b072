"""The chart's ConfigMaps hold the dashboards, under the label that Grafana's sidecar looks for."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailwarren.devstack.cluster.tools import HELM3, HELM4, Tool, find

ROOT = Path(__file__).parents[2]
BOARDS = {path.name: path.read_text() for path in (ROOT / "deploy/grafana/dashboards").glob("*.json")}


def config_maps(tool: Tool, scratch: Path, *options: str) -> list[dict[str, Any]]:
    chart = ROOT / "deploy/helm/mailwarren"
    command = [str(find(tool)), "template", "rel", str(chart), "-f", str(chart / "ci/default-values.yaml"), *options]
    places = {f"HELM_{name}_HOME": str(scratch) for name in ("CACHE", "CONFIG", "DATA")}
    text = subprocess.run(command, env=places, capture_output=True, text=True, check=True, timeout=60).stdout
    found = [one for one in yaml.safe_load_all(text) if one and one["kind"] == "ConfigMap"]
    return [one for one in found if "-dashboard-" in one["metadata"]["name"]]


@pytest.mark.parametrize("tool", [HELM4, HELM3], ids=["helm4", "helm3"])
def test_each_board_has_a_config_map(tool: Tool, tmp_path: Path) -> None:
    found = config_maps(tool, tmp_path, "--set", "monitoring.dashboards.enabled=true")
    assert {name: text for one in found for name, text in one["data"].items()} == BOARDS
    assert len(found) == len(BOARDS)
    assert all(one["metadata"]["labels"]["grafana_dashboard"] == "1" for one in found)


def test_there_are_none_unless_asked_for(tmp_path: Path) -> None:
    assert config_maps(HELM4, tmp_path) == []
