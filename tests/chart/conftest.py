"""The chart rendered by real helm: each way once in a session."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailwarren.devstack.cluster.chart import Manifest, Render, chart_folder
from mailwarren.devstack.cluster.definitions import profiles
from mailwarren.devstack.cluster.tools import HELM3, HELM4, Tool, ToolMissing, find

HELMS = {"helm4": HELM4, "helm3": HELM3}
PROFILES = profiles(chart_folder())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for ``profile`` runs for every file in ``ci/``."""
    if "profile" in metafunc.fixturenames:
        metafunc.parametrize("profile", sorted(PROFILES))


def program(tool: Tool) -> Path:
    try:
        return find(tool)
    except ToolMissing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def chart() -> Path:
    return chart_folder()


@pytest.fixture(scope="session", params=sorted(HELMS))
def helm(request: pytest.FixtureRequest) -> Path:
    """helm 4, then helm 3."""
    return program(HELMS[request.param])


@pytest.fixture(scope="session")
def helm4() -> Path:
    return program(HELM4)


@pytest.fixture(scope="session")
def all_profiles() -> list[str]:
    """Every name in ``ci/``."""
    return sorted(PROFILES)


@pytest.fixture(scope="session")
def profile_file() -> Callable[[str], Path]:
    """The values file of a profile."""
    return PROFILES.__getitem__


@cache
def _rendered(program: Path, profile: str | None, settings: str, kube: str, upgrade: bool) -> list[Manifest]:
    values = () if profile is None else (PROFILES[profile],)
    asked = {name: json.dumps(value) for name, value in json.loads(settings).items()}
    return Render(program, values, asked, kube_version=f"{kube}.0", upgrade=upgrade).manifests()


@pytest.fixture(scope="session")
def render(helm4: Path) -> Callable[..., list[Manifest]]:
    """``render(profile, helm=…, kube="1.31", upgrade=False, **values)``; dots in names of values are ``__``."""

    def made(
        profile: str | None = None, helm: Path = helm4, kube: str = "1.31", upgrade: bool = False, **values: Any
    ) -> list[Manifest]:
        settings = {name.replace("__", "."): value for name, value in values.items()}
        return _rendered(helm, profile, json.dumps(settings, sort_keys=True), kube, upgrade)

    return made


@pytest.fixture(scope="session")
def steady(render: Callable[..., list[Manifest]]) -> Callable[..., list[Manifest]]:
    """The same with passwords that do not change from one rendering to the next."""

    def made(profile: str | None = None, **values: Any) -> list[Manifest]:
        given = yaml.safe_load(PROFILES[profile].read_text()) if profile else {}
        own = ((given or {}).get("accounts") or {}).keys() & {"existingSecret", "seed"}
        return render(profile, **(values if own else {"accounts__seed": "seed", **values}))

    return made
