"""The package's public names: few, all there, and loaded when they are asked for."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import pkgutil
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import zmqagents

ROOT = Path(__file__).resolve().parents[2]

# What costs a program its start-up time, or must not be needed to ask for the version.
HEAVY = ("autogen_core", "autogen_agentchat", "zmq", "zeroconf", "google.protobuf", "msgspec", "typer", "rich")


def modules_loaded_by(statement: str) -> set[str]:
    """The modules that a new interpreter has loaded once it ran ``statement``."""
    program = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True)
    return set(json.loads(run.stdout))


def test_package_loads_nothing_heavy_when_imported() -> None:
    assert modules_loaded_by("import zmqagents").isdisjoint(HEAVY)


def test_forwarder_never_loads_autogen() -> None:
    loaded = modules_loaded_by("import zmqagents.forwarder")

    assert "zmqagents.forwarder" in loaded
    assert not {name for name in loaded if name.startswith("autogen")}


@pytest.mark.parametrize("layer", ["errors", "keys", "config", "protocol", "transport", "discovery"])
def test_layers_under_the_runtime_never_load_autogen(layer: str) -> None:
    package = importlib.import_module(f"zmqagents.{layer}")
    names = [package.__name__]
    names += [found.name for found in pkgutil.walk_packages(getattr(package, "__path__", []), f"{package.__name__}.")]

    loaded = modules_loaded_by(f"import {', '.join(names)}")

    assert not {name for name in loaded if name.startswith("autogen")}


def test_runtime_loads_autogen_when_a_public_name_of_it_is_used() -> None:
    assert "autogen_core" in modules_loaded_by("import zmqagents; zmqagents.ZmqAgentRuntime")


def test_runtime_loads_no_http_client_and_no_terminal_library() -> None:
    program = "import autogen_core; from zmqagents import ZmqAgentRuntime; ZmqAgentRuntime(discovery='none')"

    assert modules_loaded_by(program).isdisjoint({"requests", "urllib3", "jsonref", "typer", "rich", "zmqagents.cli"})


@pytest.mark.parametrize("name", zmqagents.__all__)
def test_public_name_is_there_and_listed(name: str) -> None:
    assert getattr(zmqagents, name) is not None
    assert name in dir(zmqagents)


def test_public_names_are_few_and_listed_once() -> None:
    assert len(zmqagents.__all__) < 25
    assert len(set(zmqagents.__all__)) == len(zmqagents.__all__)


def test_a_name_that_is_not_public_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match=r"zmqagents.*no_such_name"):
        _ = zmqagents.no_such_name


def test_version_is_that_of_the_installed_package() -> None:
    assert zmqagents.__version__ == importlib.metadata.version("zmqagents")


def test_wheel_carries_every_module_and_data_file(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT / "zmqagents", source / "zmqagents", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for name in ("setup.cfg", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, source)
    expected = {path.relative_to(source).as_posix() for path in (source / "zmqagents").rglob("*") if path.is_file()}
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]

    built = subprocess.run([*pip, str(source)], capture_output=True, text=True, timeout=50, check=False)

    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {"zmqagents/py.typed", "zmqagents/protocol/SPEC.md"} <= expected
    assert packed == expected
