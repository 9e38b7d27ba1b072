"""``mailwarren-dashboards [FOLDER …]`` writes a JSON file for each board, and removes those of boards that are gone.

Without a folder it writes to :data:`FOLDERS`: the one that people and compose.yaml take, and a copy inside of the Helm
chart, because a chart can read only its own files.
"""

import argparse
import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from mailwarren.dashboards.board import Board
from mailwarren.dashboards.boards import BOARDS

FOLDERS = (Path("deploy/grafana/dashboards"), Path("deploy/helm/mailwarren/files/dashboards"))

_NOT_OF_VARIABLES = frozenset({"id", "auto", "auto_count", "auto_min"})
"""The SDK gives them to every variable; Grafana's schema has no ``id``, and the others for intervals only."""


def render(board: Board) -> str:
    """The board's file: the same for the same board, to the octet."""
    plain = json.loads(json.dumps(board.build(), cls=JSONEncoder))
    plain.pop("style", None)  # a theme is the reader's; Grafana's schema has it no longer
    for variable in plain["templating"]["list"]:
        for name in _NOT_OF_VARIABLES & variable.keys():
            del variable[name]
    return json.dumps(plain, sort_keys=True, indent=2, ensure_ascii=False) + "\n"


def render_all() -> dict[str, str]:
    """The text of every file by its name."""
    return {f"{board.name}.json": render(board) for board in BOARDS}


def write(folder: Path) -> None:
    """Make the folder's JSON files those of the boards."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = render_all()
    for gone in set(folder.glob("*.json")) - {folder / name for name in texts}:
        gone.unlink()
    for name, text in texts.items():
        (folder / name).write_text(text)


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(prog="mailwarren-dashboards", description="Write the dashboards' JSON files.")
    parser.add_argument(
        "folders", nargs="*", type=Path, metavar="FOLDER", help=f"default: {' '.join(map(str, FOLDERS))}"
    )
    for folder in parser.parse_args().folders or FOLDERS:
        write(folder)


if __name__ == "__main__":
    main()
