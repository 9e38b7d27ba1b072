"""The dashboards as files: they are what their code gives, and every panel is complete and well-formed.

What their queries find is for ``test_dashboards_live.py``.
"""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from grafana_foundation_sdk.models import units

from mailwarren.contracts.events import Kind
from mailwarren.contracts.lanes import Lane
from mailwarren.contracts.topology import Topology
from mailwarren.dashboards.main import FOLDERS, render_all, write
from mailwarren.dashboards.palette import LANES, OUTCOMES
from mailwarren.store.states import State

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/grafana/dashboards"
BOARDS: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
BUILT_IN = {"__rate_interval", "__range", "datasource"}
TEXTS = {"datasource", "runbooks", "flower"}
"""Choices that narrow no query."""
UNSHOWN = {
    "mailwarren_load_": "of the load generator, which shows them itself; the board of load tests is about us",
}
"""Beginnings of names of metrics that no board and no alert has to show."""
SUFFIX = re.compile(r"_(total|bucket|sum|count)$")


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All panels, also those inside of closed rows; not the rows."""
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


ALL = [pytest.param(name, panel, id=f"{name}/{panel['title']}") for name in BOARDS for panel in panels(BOARDS[name])]


def variables(expr: str) -> set[str]:
    return set(re.findall(r"\$\{?([a-z_]\w*)", expr))


def plain(expr: str) -> str:
    return re.sub(r"\$[a-z]\w*", ".*", expr.replace("$__rate_interval", "1m").replace("$__range", "1h"))


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_the_files_are_what_the_code_gives(folder: Path) -> None:
    """Also those inside of the chart, which can read no others."""
    texts = render_all()
    found = {path.name: path.read_text() for path in (ROOT / folder).glob("*.json")}
    differ = sorted(name for name in texts.keys() | found.keys() if texts.get(name) != found.get(name))
    assert not differ, f"run 'make dashboards': {', '.join(differ)}"


def test_the_same_code_gives_the_same_octets() -> None:
    assert render_all() == render_all()


def test_a_board_that_is_gone_goes_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("mine")
    write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*render_all(), "notes.txt"}


def test_there_are_the_boards_that_operators_ask_for() -> None:
    ours = {"overview", "api", "lanes", "queues", "providers", "senders", "egress", "tracker", "webhooks", "feedback"}
    assert set(BOARDS) == ours | {"loadtest"}
    assert len({board["uid"] for board in BOARDS.values()}) == len(BOARDS)
    assert all(board["uid"] == f"mailwarren-{name}" for name, board in BOARDS.items())
    assert all(len(list(panels(board))) >= 10 for board in BOARDS.values())


@pytest.mark.parametrize("name", BOARDS)
def test_panels_have_numbers_and_titles_of_their_own(name: str) -> None:
    shown = [*BOARDS[name]["panels"], *(one for row in BOARDS[name]["panels"] for one in row.get("panels") or ())]
    ids = Counter(panel["id"] for panel in shown)
    assert [number for number, times in ids.items() if times > 1] == []
    titles = Counter(panel["title"] for panel in panels(BOARDS[name]))
    assert [title for title, times in titles.items() if times > 1] == []


@pytest.mark.parametrize("name", BOARDS)
def test_no_panel_covers_another_and_no_row_of_them_has_a_gap(name: str) -> None:
    taken: Counter[tuple[int, int]] = Counter()
    open_panels = [panel for panel in BOARDS[name]["panels"] if not panel.get("collapsed")]
    for panel in open_panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        taken.update((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"]))
    assert max(taken.values()) == 1
    lines = Counter(y for _, y in taken)
    assert set(lines.values()) == {24}, "a line of panels does not fill the width"


@pytest.mark.parametrize(("name", "panel"), ALL)
def test_a_panel_says_what_it_shows_and_what_to_do(name: str, panel: dict[str, Any]) -> None:
    shows, bad = panel["description"].split("\n\n**When it looks bad:** ")
    assert len(shows) > 10
    assert len(bad) > 10
    assert panel["fieldConfig"]["defaults"]["unit"] in {unit for unit in vars(units).values() if isinstance(unit, str)}
    assert panel["targets"]
    assert panel["options"], "Grafana takes no null here"
    assert panel["gridPos"]["w"] >= 4, "too small to read"
    assert panel["datasource"]["uid"] == "${datasource}"
    assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


@pytest.mark.parametrize(("name", "panel"), ALL)
def test_queries_are_promql_of_chosen_variables_and_known_metrics(name: str, panel: dict[str, Any]) -> None:
    chosen = {one["name"] for one in BOARDS[name]["templating"]["list"]} | BUILT_IN
    for target in panel["targets"]:
        promql_parser.parse(plain(target["expr"]))
        assert variables(target["expr"]) <= chosen
        named = {SUFFIX.sub("", metric) for metric in re.findall(r"\bmailwarren_\w+", target["expr"])}
        assert named <= declared(), f"{named - declared()} is declared in no metrics.py"


@pytest.mark.parametrize("name", BOARDS)
def test_a_variable_that_can_be_chosen_changes_something(name: str) -> None:
    exprs = " ".join(target["expr"] for panel in panels(BOARDS[name]) for target in panel["targets"])
    chosen = {one["name"] for one in BOARDS[name]["templating"]["list"]} - TEXTS
    assert chosen - variables(exprs) == set()
    for one in BOARDS[name]["templating"]["list"]:
        if one["name"] not in TEXTS:
            assert one["allValue"] == ".*"
            assert one["multi"]


def test_runbooks_that_panels_name_are_there() -> None:
    links = {link["url"] for board in BOARDS.values() for panel in panels(board) for link in panel.get("links") or ()}
    assert len(links) >= 15
    missing = [url for url in links if not (ROOT / url.replace("${runbooks}", "docs/runbooks")).is_file()]
    assert missing == []


def test_every_metric_is_on_a_board_or_in_an_alert() -> None:
    rules = "".join(
        path.read_text() for kind in ("rules", "alerts") for path in ROOT.glob(f"deploy/grafana/{kind}/*.yaml")
    )
    exprs = (target["expr"] for board in BOARDS.values() for panel in panels(board) for target in panel["targets"])
    shown = {SUFFIX.sub("", name) for name in re.findall(r"\bmailwarren_\w+", " ".join((*exprs, rules)))}
    unseen = {name for name in declared() - shown if not name.startswith(tuple(UNSHOWN))}
    assert not unseen, "give it a panel where an operator would look for it"
    assert all(any(name.startswith(start) for name in declared()) for start in UNSHOWN)


def declared() -> set[str]:
    """Names in our metrics modules."""
    found = set()
    sources = (folder for kind in ("services", "libs", "loadtest") for folder in ROOT.glob(f"{kind}/*/src"))
    for path in (path for folder in sources for path in folder.rglob("metrics.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and re.fullmatch(r"mailwarren_\w+", str(node.value)):
                found.add(SUFFIX.sub("", node.value))
    return found


def test_lanes_and_states_have_one_colour_everywhere() -> None:
    assert set(LANES) == set(Lane)
    assert set(OUTCOMES) >= {*Kind, *State}
    assert len(set(LANES.values()) | {OUTCOMES[name] for name in ("delivered", "deferred", "bounced", "failed")}) == 7
    seen: dict[str, set[str]] = {}
    for board in BOARDS.values():
        for panel in panels(board):
            for override in panel["fieldConfig"]["overrides"]:
                (colour,) = [one["value"]["fixedColor"] for one in override["properties"] if one["id"] == "color"]
                seen.setdefault(override["matcher"]["options"], set()).add(colour)
    assert {name: colours for name, colours in seen.items() if len(colours) > 1} == {}


def test_every_queue_of_the_topology_is_on_a_board() -> None:
    exprs = {target["expr"] for board in BOARDS.values() for panel in panels(board) for target in panel["targets"]}
    patterns = {re.sub(r"\$\w+", ".*", found) for expr in exprs for found in re.findall(r'queue=~"([^"]+)"', expr)}
    for prefix in ("", "t1."):
        names = {queue.name for queue in Topology(prefix).all_queues}
        unseen = {name for name in names if not any(re.fullmatch(pattern, name) for pattern in patterns)}
        # No mail waits in slots, nor in the overrides on their way to the ledger.
        unseen = {name for name in unseen if not name.startswith((f"{prefix}slots.", f"{prefix}tracker.shaping"))}
        # The tracker's copy of mail.dead, and the stream, which nobody empties.
        assert unseen == {f"{prefix}tracker.dead", f"{prefix}mail.control.log"}
