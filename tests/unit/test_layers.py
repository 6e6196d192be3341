"""The import contracts of setup.cfg hold, and each of them can fail."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

DOWN = "Imports point down only"
ZMQ = "Only transport.zeromq imports zmq"
ZEROCONF = "Only discovery.mdns imports zeroconf"
AUTOGEN = "Only the runtime imports AutoGen"
FORWARDER = "The forwarder and what it stands on never reach AutoGen"
PURE = "The protocol is pure"

# An import that must not be, as "importer -> imported", and the contract that has to say so.
OFFENCES = [
    ("zmqagents.errors -> zmqagents.protocol", DOWN),
    ("zmqagents.config -> zmqagents.transport", DOWN),
    ("zmqagents.keys -> zmqagents.config", DOWN),
    ("zmqagents.protocol.offender1 -> zmqagents.transport", DOWN),
    ("zmqagents.transport.offender2 -> zmqagents.runtime", DOWN),
    ("zmqagents.transport.offender3 -> zmqagents.discovery", DOWN),
    ("zmqagents.discovery.offender4 -> zmqagents.forwarder", DOWN),
    ("zmqagents.forwarder.offender5 -> zmqagents.runtime.runtime", DOWN),
    ("zmqagents.discovery.offender6 -> zmq", ZMQ),
    ("zmqagents.transport.offender7 -> zmq", ZMQ),
    ("zmqagents.runtime.offender8 -> zmq", ZMQ),
    ("zmqagents.transport.offender9 -> zeroconf", ZEROCONF),
    ("zmqagents.runtime.offender10 -> zeroconf", ZEROCONF),
    ("zmqagents.transport.offender11 -> autogen_core", AUTOGEN),
    ("zmqagents.discovery.offender12 -> autogen_core", FORWARDER),
    ("zmqagents.forwarder.offender5 -> zmqagents.runtime.runtime", FORWARDER),  # which imports AutoGen
    ("zmqagents.protocol.offender13 -> time", PURE),
    ("zmqagents.protocol.offender14 -> asyncio", PURE),
    ("zmqagents.protocol.offender15 -> os", PURE),
    ("zmqagents.protocol.offender16 -> logging", PURE),
    ("zmqagents.protocol.offender17 -> random", PURE),
    ("zmqagents.protocol.offender18 -> zmq", PURE),
    ("zmqagents.errors -> socket", PURE),  # the protocol reaches it by way of its errors
]


@dataclass(frozen=True)
class Verdict:
    """What lint-imports said: its exit status, and per broken contract the text that names the offenders."""

    status: int
    broken: dict[str, str]


def lint_imports(tree: Path) -> Verdict:
    run = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert "Contracts: " in run.stdout, run.stdout + run.stderr
    names = re.findall(r"^(.*) BROKEN$", run.stdout, flags=re.MULTILINE)
    _, _, details = run.stdout.partition("Broken contracts\n")
    sections = re.split(r"^(.+)\n-+\n", details, flags=re.MULTILINE)
    texts = dict(zip(sections[1::2], sections[2::2], strict=True))
    return Verdict(run.returncode, {name: texts[name] for name in names})


@pytest.fixture(scope="module")
def offended(tmp_path_factory: pytest.TempPathFactory) -> Verdict:
    """The verdict on a copy of the package to which all of OFFENCES were added."""
    tree = tmp_path_factory.mktemp("offended")
    shutil.copy(ROOT / "setup.cfg", tree)
    shutil.copytree(ROOT / "zmqagents", tree / "zmqagents", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    for offence in dict.fromkeys(offence for offence, _ in OFFENCES):
        importer, imported = offence.split(" -> ")
        with (tree / importer.replace(".", "/")).with_suffix(".py").open("a") as module:
            module.write(f"\nimport {imported}\n")
    (tree / "zmqagents" / "unplaced.py").write_text('"""A module that no layer lists."""\n')
    return lint_imports(tree)


def test_every_contract_holds() -> None:
    assert lint_imports(ROOT) == Verdict(0, {})


@pytest.mark.parametrize(("offence", "contract"), OFFENCES)
def test_a_contract_names_the_import_that_breaks_it(offended: Verdict, offence: str, contract: str) -> None:
    assert offended.status == 1
    assert re.search(rf"\b{re.escape(offence)} \(l\.", offended.broken.get(contract, "")), offended.broken


def test_layers_contract_names_a_module_that_has_no_layer(offended: Verdict) -> None:
    assert "- zmqagents.unplaced" in offended.broken[DOWN]
