"""The operator's page shows files that a sender obeys, and the command that checks them says what it should."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from mailwarren.sender.domain.actions import Action
from mailwarren.sender.rules.__main__ import main
from mailwarren.sender.rules.book import built_in
from mailwarren.sender.rules.replies import _ACTION, _RULE, read_replies
from mailwarren.sender.rules.shaping import _SITE, _TIMEOUTS, read_shaping
from mailwarren.sender.smtp import SMARTHOST, TlsMode

PAGE = Path(__file__).parents[5] / "docs" / "operations.md"
CHAPTER = PAGE.read_text().split("## Shaping and reply rules\n")[1].split("\n## ")[0]
SHAPING, REPLIES = re.findall(r"```toml\n(.*?)```", CHAPTER, flags=re.DOTALL)


def test_the_examples_are_obeyed() -> None:
    shaping = read_shaping((built_in("shaping"), SHAPING.encode()))
    google, ours = shaping.policy("google").limits, read_shaping((built_in("shaping"),)).policy("google").limits
    assert google == replace(ours, connections=3)
    assert shaping.policy("partner").limits.timeouts == replace(ours.timeouts, connect=10.0, data=120.0)
    assert shaping.policy("example.org").tls is TlsMode.VERIFY
    assert shaping.site_of("a.in.partner.example") == "partner"
    assert shaping.policy(SMARTHOST).limits.connections == 40
    (rule,) = read_replies([REPLIES.encode()])
    assert rule.suppress
    assert rule.action == Action(1800.0, suspend=True, after=3, within=3600.0)


def test_every_key_and_every_built_in_row_is_described() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", CHAPTER, flags=re.MULTILINE)) == set(_SITE)
    assert [key for key in _TIMEOUTS if f"`{key}`" not in CHAPTER] == []
    assert [key for key in _ACTION if f"{key} = " not in CHAPTER] == []
    assert [key for key in _RULE if f"\n{key} = " not in REPLIES] == []
    (rows,) = re.findall(r"^Built-in rows: (.*?)\. Sites", CHAPTER, flags=re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`(.+?)`", rows)) == read_shaping((built_in("shaping"),)).names - {SMARTHOST}


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    (tmp_path / "shaping.toml").write_text(SHAPING)
    (tmp_path / "replies.toml").write_text(REPLIES)
    return str(tmp_path / "shaping.toml"), str(tmp_path / "replies.toml")


def test_the_command_says_how_a_host_and_a_reply_are_read(files, capsys) -> None:
    shaping, replies = files
    assert main(["shaping", shaping, "--mx", "aspmx.l.Google.com."]) == 0
    assert "site google\nconnections 3, messages_per_connection 50\nidle 60, mails_behind 0, tls required\n" in (
        capsys.readouterr().out
    )
    assert main(["replies", replies, "--site", "google", "--reply", "554 5.7.2 company sold"]) == 0
    assert capsys.readouterr().out.endswith(
        "rule 1 reads it: company_closed; a 5yz is bounced\n"
        "then for 1800 s after 3 in 3600 s: nothing is sent, site-wide at all senders\n"
    )
    assert main(["replies", replies, "--reply", "554 5.7.2 company sold"]) == 0
    assert "company_closed" not in capsys.readouterr().out
    assert main(["replies", replies, "--reply", "connect 421 Too many connections"]) == 0
    assert "then for 5400 s after 3 in 600 s: connections 1, rate 1/min, site-wide" in capsys.readouterr().out
    assert main(["replies", replies, "--reply", "599 the moon is wrong"]) == 0
    assert "no rule reads it" in capsys.readouterr().out
    assert main(["shaping", shaping]) == main(["replies", replies]) == 0
    assert "14 sites have a row\n" in capsys.readouterr().out


def test_the_command_refuses_what_a_sender_would(tmp_path: Path, capsys) -> None:
    path = tmp_path / "x.toml"
    path.write_text("[default]\nconnections = -1\n")
    assert main(["shaping", str(path)]) == 1
    assert capsys.readouterr().err == f"{path}: [default] connections: Expected `int` >= 1\n"
    assert main(["replies", str(tmp_path / "none.toml")]) == 1
    assert capsys.readouterr().err.endswith("none.toml: No such file or directory\n")


@pytest.mark.parametrize("name", ["shaping", "replies"])
def test_the_command_shows_the_built_in_files(name: str, capsys) -> None:
    assert main(["show", name]) == 0
    assert capsys.readouterr().out.encode() == built_in(name)
