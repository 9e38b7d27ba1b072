"""Importing a module does nothing: no network, no threads, no processes, no files, and no environment needed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("quiet_imports.py")


def import_all(folder: Path, *arguments: str) -> dict[str, Any]:
    """What importing did, in a process without an environment, in an empty folder."""
    done = subprocess.run(
        [sys.executable, "-B", "-I", str(SCRIPT), *arguments],
        cwd=folder,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_importing_any_module_of_ours_does_nothing(sources, tmp_path) -> None:
    result = import_all(tmp_path, "mailwarren")
    assert result["deeds"] == []
    assert list(tmp_path.iterdir()) == []
    # Migrations are run by Alembic, which gives them what they import from; programs are run.
    expected = {module_name(path) for path in sources if "migrations" not in path.parts and path.stem != "__main__"}
    assert expected - set(result["modules"]) == set()


def module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    inner = parts[parts.index("src") + 1 :]
    return ".".join(inner[:-1] if inner[-1] == "__init__" else inner)


def test_what_a_module_does_is_named(tmp_path) -> None:
    package = tmp_path / "path" / "careless"
    package.mkdir(parents=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    (package / "__init__.py").write_text("")
    (package / "connects.py").write_text(
        "import socket\ns = socket.socket()\ns.settimeout(0.1)\ntry:\n    s.connect(('127.0.0.1', 9))\n"
        "except OSError:\n    pass\ns.close()\n"
    )
    (package / "writes.py").write_text("open('left.txt', 'w').close()\n")
    (package / "starts.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True, name='late').start()\n"
    )
    (package / "runs.py").write_text("import subprocess\nsubprocess.run(['true'], check=False, env={})\n")
    (package / "quiet.py").write_text("import os\nopen(os.devnull, 'w').close()\nopen(__file__).close()\n")
    deeds = import_all(empty, "careless", str(package.parent))["deeds"]
    assert {deed.split(" ")[0] + " " + deed.split(" ")[1] for deed in deeds} >= {
        "careless.connects: socket.connect",
        "careless.writes: open",
        "careless.starts: left",
        "careless.runs: subprocess.Popen",
    }
    assert not [deed for deed in deeds if "quiet" in deed]
