"""A module has one subject. Over 400 lines it has become the place where things are put."""

from collections.abc import Iterable
from pathlib import Path

LIMIT = 400


def too_long(paths: Iterable[Path]) -> list[str]:
    counts = {path: len(path.read_text().splitlines()) for path in paths}
    return [f"{path}: {count} lines, at most {LIMIT}" for path, count in counts.items() if count > LIMIT]


def test_no_module_is_longer_than_400_lines(sources) -> None:
    assert len(sources) > 50
    assert too_long(sources) == []


def test_a_longer_module_is_named(tmp_path) -> None:
    fits, long = tmp_path / "fits.py", tmp_path / "long.py"
    fits.write_text("x = 1\n" * LIMIT)
    long.write_text("x = 1\n" * (LIMIT + 1))
    assert too_long([fits, long]) == [f"{long}: 401 lines, at most 400"]
