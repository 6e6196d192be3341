"""The files of examples/deploy are what their readers take: by Kubernetes' and Compose's own schemas, and hadolint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.files import COMPOSE, DOCKERFILES, MANIFESTS
from tests.requirements import require_tool

OLDEST, NEWEST = "1.27", "1.37"  # of Kubernetes; fields that we use may come and go between them

_COMPOSE_SCHEMA = ("-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec")


def judge(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def judge_manifest(file: Path, version: str) -> subprocess.CompletedProcess[str]:
    return judge(sys.executable, "-m", "kubernetes_validate", "--strict", "--kubernetes-version", version, file)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.name)
def test_manifest_is_valid_in_kubernetes(file: Path, version: str) -> None:
    judged = judge_manifest(file, version)
    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_judge_of_manifests_refuses_a_field_that_does_not_exist(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(MANIFESTS[-1].read_text().replace("replicas:", "replica:"))
    assert judge_manifest(wrong, NEWEST).returncode != 0


def test_compose_file_is_valid() -> None:
    judged = judge(sys.executable, *_COMPOSE_SCHEMA, COMPOSE)
    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_judge_of_compose_files_refuses_a_key_that_does_not_exist(tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(COMPOSE.read_text().replace("replicas:", "replica:"))
    assert judge(sys.executable, *_COMPOSE_SCHEMA, wrong).returncode != 0


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_dockerfile_has_nothing_that_hadolint_warns_of(file: Path) -> None:
    judged = judge(require_tool("hadolint"), file)
    assert (judged.returncode, judged.stdout) == (0, "")
