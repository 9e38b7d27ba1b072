"""Secrets at rest: the first key encrypts, all decrypt, and nothing else does."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mailwarren.runtime.vault import Unreadable, Vault, WrongKeys, new_key, read_vault

SECRET = b"-----not shown to anybody-----"


def test_a_secret_comes_back_and_is_not_in_what_is_kept() -> None:
    vault = Vault([new_key()])
    closed = vault.close(SECRET)
    assert vault.open(closed) == SECRET
    assert SECRET not in closed
    assert vault.close(SECRET) != closed


def test_a_new_key_is_added_moved_up_and_the_old_one_taken_out() -> None:
    old, new = new_key(), new_key()
    kept = Vault([old]).close(SECRET)
    both = Vault([new, old])
    assert (both.open(kept), both.is_new(kept)) == (SECRET, False)
    renewed = both.close(both.open(kept))
    assert both.is_new(renewed)
    assert Vault([old, new]).open(renewed) == Vault([new]).open(renewed) == SECRET
    with pytest.raises(Unreadable):
        Vault([new]).open(kept)


def test_a_changed_octet_is_noticed() -> None:
    vault = Vault([new_key()])
    closed = bytearray(base64.urlsafe_b64decode(vault.close(SECRET)))
    closed[30] ^= 1
    with pytest.raises(Unreadable):
        vault.open(base64.urlsafe_b64encode(closed))


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_both_alphabets_of_base64_are_keys(encode) -> None:
    key = encode(b"\xff\xfe" * 16).decode()
    assert Vault([key]).open(Vault([base64.urlsafe_b64encode(b"\xff\xfe" * 16).decode()]).close(SECRET)) == SECRET


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no key in it"),
        ("# a comment\n\n", "no key in it"),
        ("secret-that-is-no-key\n", "32 bytes in base64"),
        (base64.b64encode(b"sixteen-octets..").decode(), "32 bytes in base64"),
    ],
)
def test_a_file_that_is_wrong_ends_the_start_without_being_shown(text: str, why: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(WrongKeys, match=why) as caught:
        read_vault(file)
    assert not text.strip() or text.strip() not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WrongKeys, match="none: FileNotFoundError"):
        read_vault(tmp_path / "none")


def test_the_api_does_not_start_with_a_file_that_is_wrong(tmp_path: Path) -> None:
    env = {
        "MAILWARREN_DATA_KEYS": str(tmp_path / "none"),
        "MAILWARREN_INTERNAL_TOKEN": "internal-token-of-a-test",
        "MAILWARREN_METRICS_PORT": "0",
    }
    command = [str(Path(sys.executable).with_name("ingest")), "api"]
    done = subprocess.run(command, env=os.environ | env, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "ingest.data_keys.wrong" in done.stdout
    assert "FileNotFoundError" in done.stdout


def test_a_file_with_comments_and_several_keys_is_read(tmp_path: Path) -> None:
    first, second = new_key(), new_key()
    (tmp_path / "keys").write_text(f"# of November\n{first}\n\n  {second}\n")
    vault = read_vault(tmp_path / "keys")
    assert vault.is_new(vault.close(SECRET))
    assert vault.open(Vault([second]).close(SECRET)) == SECRET
