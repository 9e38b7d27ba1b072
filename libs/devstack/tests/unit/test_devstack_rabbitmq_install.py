from pathlib import Path

import pytest

from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.rabbitmq_install import ROOT, SERVERS, Installation, find_installation, link_plugins

APPS = {
    "rabbit-3.10.8": "{applications,[kernel,stdlib,ra,rabbit_common]},\n {env,[{x,[y]}]}",
    "rabbit_common-3.10.8": "{applications, [\n  kernel,\n  recon\n]}",
    "ra-2.2.0": "{applications,[kernel]}",
    "recon-2.5.2": "{applications,[kernel]}",
    "rabbitmq_prelaunch-3.10.8": "{applications,[kernel]}",
    "rabbitmq_management-3.10.8": "{applications,[rabbit,cowboy]}",
    "rabbitmq_prometheus-3.10.8": "{applications,[rabbit]}",
    "cowboy-2.8.0": "{applications,[ranch]}",
    "ranch-2.1.0": "{applications,[kernel]}",
    "rabbitmq_mqtt-3.10.8": "{applications,[rabbit]}",
}


def _install(servers: Path, version: str = "3.10.8", without: str = "") -> Path:
    home = servers / f"rabbitmq_server-{version}"
    (home / "sbin").mkdir(parents=True)
    for folder, content in APPS.items():
        name = folder.rpartition("-")[0]
        if name != without:
            (home / "plugins" / folder / "ebin").mkdir(parents=True)
            (home / "plugins" / folder / "ebin" / f"{name}.app").write_text(f"{{application,{name},[{content}]}}.")
    return home


def test_the_newest_of_several_is_found_by_number_not_by_letter(tmp_path: Path) -> None:
    _install(tmp_path / SERVERS, "3.9.13")
    newest = _install(tmp_path / SERVERS, "3.10.8")

    found = find_installation(tmp_path)

    assert found == Installation(newest, tmp_path)
    assert found.version == "3.10.8"


def test_none_is_found_where_none_is(tmp_path: Path) -> None:
    assert find_installation(tmp_path) is None
    assert find_installation(tmp_path / "nowhere") is None


def test_only_what_the_enabled_plugins_need_is_linked(tmp_path: Path) -> None:
    installation = Installation(_install(tmp_path / "servers"))

    folder = link_plugins(installation, tmp_path / "links")

    assert sorted(path.name for path in folder.iterdir()) == sorted(set(APPS) - {"rabbitmq_mqtt-3.10.8"})
    assert (folder / "cowboy-2.8.0" / "ebin" / "cowboy.app").exists()


def test_links_of_an_older_version_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "rabbit-3.9.13").symlink_to(tmp_path)

    folder = link_plugins(Installation(_install(tmp_path / "servers")), tmp_path / "links")

    assert not (folder / "rabbit-3.9.13").is_symlink()


def test_an_unexpected_layout_means_the_whole_folder(tmp_path: Path) -> None:
    installation = Installation(_install(tmp_path / "servers", without="rabbitmq_prelaunch"))

    assert link_plugins(installation, tmp_path / "links") == installation.plugins


def test_of_another_debian_its_programs_see_their_own_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "a root"
    _install(root / SERVERS, "4.3.6")
    (root / "usr/bin").mkdir()
    (root / "usr/bin/erl").touch()
    monkeypatch.setenv(ROOT, str(root))

    found = find_installation()

    assert found is not None
    assert found.inner_home == Path("/usr/lib/rabbitmq/lib/rabbitmq_server-4.3.6")
    folder = link_plugins(found, tmp_path / "links")
    assert (folder / "ra-2.2.0").readlink() == found.inner_home / "plugins" / "ra-2.2.0"
    argv = found.argv("erl", "-noinput")
    assert argv[:2] == ("/usr/bin/unshare", "--mount")
    assert argv[-3:] == (str(root), "/usr/bin/erl", "-noinput")
    with pytest.raises(DevstackError, match=r"no epmd in .*a root/usr/bin"):
        found.argv("epmd")
