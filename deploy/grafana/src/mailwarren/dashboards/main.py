"""``mailwarren-dashboards [FOLDER]`` writes a JSON file for each board, and removes those of boards that are gone."""

import argparse
import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from mailwarren.dashboards.board import Board
from mailwarren.dashboards.boards import BOARDS

FOLDER = "deploy/grafana/dashboards"


def render(board: Board) -> str:
    """The board's file: the same for the same board, to the octet."""
    return json.dumps(board.build(), cls=JSONEncoder, sort_keys=True, indent=2, ensure_ascii=False) + "\n"


def render_all() -> dict[str, str]:
    """The text of every file by its name."""
    return {f"{board.name}.json": render(board) for board in BOARDS}


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(prog="mailwarren-dashboards", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(FOLDER), help=f"default: {FOLDER}")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    texts = render_all()
    for gone in set(folder.glob("*.json")) - {folder / name for name in texts}:
        gone.unlink()
    for name, text in texts.items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main()
