"""A rival that cannot run says why, and what to do."""

import shutil

import pytest

from mailwarren.baselines import postfix_relay


def test_without_the_package_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_args, **_kwargs: None)
    assert "apt-get install -y --no-install-recommends postfix" in str(postfix_relay.missing())
    with pytest.raises(postfix_relay.NotStarted, match="not installed"), postfix_relay.PostfixRelay(1, "127.0.0.1:2"):
        pass


def test_an_ordinary_user_is_told_that_only_root_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, **_kwargs: f"/usr/sbin/{name}")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert "root" in str(postfix_relay.missing())


def test_root_with_the_package_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, **_kwargs: f"/usr/sbin/{name}")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert postfix_relay.missing() is None
