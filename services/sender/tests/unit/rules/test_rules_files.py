"""When a file counts as another one, and what is found then."""

import os
from pathlib import Path

import pytest

from mailwarren.sender.rules.document import RulesError
from mailwarren.sender.rules.files import Loaded, Refused, RulesFile


def read(data: bytes | None) -> bytes | None:
    if data is not None and data.startswith(b"bad"):
        raise RulesError("it is bad")
    if data == b"bug":
        raise KeyError(data)
    return data


def found(file: RulesFile[bytes | None]) -> object:
    """What a look finds: content, the reason of a refusal in a list, or "same"."""
    match file.look():
        case Loaded(value):
            return value
        case Refused(reason):
            return [reason]
    return "same"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.toml"


def opened(path: Path | None) -> RulesFile[bytes | None]:
    file = RulesFile("x", path, read)
    file.load()
    return file


def test_a_content_is_found_once(path: Path) -> None:
    path.write_bytes(b"one")
    file = RulesFile("x", path, read)
    assert file.load().value == b"one"
    assert found(file) == "same"
    path.write_bytes(b"two")
    assert [found(file), found(file)] == [b"two", "same"]


def test_a_file_that_was_only_touched_or_written_anew_is_the_same(path: Path) -> None:
    path.write_bytes(b"one")
    file = opened(path)
    os.utime(path, (1, 1))
    assert found(file) == "same"
    path.unlink()
    path.write_bytes(b"one")
    assert found(file) == "same"


def test_a_link_that_leads_elsewhere_is_noticed(tmp_path: Path) -> None:
    """As a kubelet puts a ConfigMap in place: ``x.toml -> ..data/x.toml``, ``..data -> ..2026_1``, renamed over."""
    for name, content in (("..2026_1", b"one"), ("..2026_2", b"two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.toml").write_bytes(content)
        os.utime(tmp_path / name / "x.toml", (1, 1))
    (tmp_path / "..data").symlink_to("..2026_1")
    (tmp_path / "x.toml").symlink_to("..data/x.toml")
    file = opened(tmp_path / "x.toml")
    (tmp_path / "..data_tmp").symlink_to("..2026_2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert [found(file), found(file)] == [b"two", "same"]


def test_without_a_path_or_a_file_the_built_in_rules_are_in_force(path: Path) -> None:
    assert RulesFile("x", None, read).load().value is None
    file = RulesFile("x", path, read)
    assert file.load() == Loaded(None, None)
    assert [found(file), found(file)] == ["same", "same"]
    path.write_bytes(b"one")
    assert found(file) == b"one"


def test_a_file_that_is_gone_for_a_moment_is_waited_for(path: Path) -> None:
    path.write_bytes(b"one")
    file = opened(path)
    path.rename(path.with_suffix(".old"))
    assert found(file) == "same"
    path.with_suffix(".old").rename(path)
    assert found(file) == "same"
    path.unlink()
    assert [found(file), found(file), found(file)] == ["same", None, "same"]


def test_a_refusal_is_found_once_for_each_content_and_ends_with_a_good_one(path: Path) -> None:
    path.write_bytes(b"good")
    file = opened(path)
    path.write_bytes(b"bad")
    assert [found(file), found(file)] == [["it is bad"], "same"]
    os.utime(path, (1, 1))
    assert found(file) == "same"
    path.write_bytes(b"bad too")
    assert found(file) == ["it is bad"]
    path.write_bytes(b"good")
    assert [found(file), found(file)] == [b"good", "same"]


def test_a_fault_of_ours_refuses_too(path: Path) -> None:
    path.write_bytes(b"good")
    file = opened(path)
    path.write_bytes(b"bug")
    assert found(file) == ["KeyError: b'bug'"]


def test_what_is_no_file_is_refused_and_never_opened(path: Path) -> None:
    path.write_bytes(b"good")
    file = opened(path)
    path.unlink()
    os.mkfifo(path)
    assert [found(file), found(file)] == [["is not a file"], "same"]
    path.unlink()
    path.mkdir()
    assert found(file) == "same"
    path.rmdir()
    assert [found(file), found(file)] == ["same", None]


def test_a_file_that_may_not_be_read_is_refused(path: Path) -> None:
    path.write_bytes(b"good")
    file = opened(path)
    loop = path.with_suffix(".loop")
    loop.symlink_to(loop)
    loop.rename(path)
    loop.with_suffix(".toml").unlink()
    path.symlink_to(path)
    (reason,) = found(file)  # type: ignore[misc]
    assert reason.startswith("cannot be read: Too many levels")


def test_a_start_with_a_bad_file_says_which_and_why(path: Path) -> None:
    path.write_bytes(b"bad")
    with pytest.raises(RulesError) as error:
        RulesFile("x", path, read).load()
    assert str(error.value) == f"{path}: it is bad"
