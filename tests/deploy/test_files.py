"""The files of examples/deploy agree with each other, and with the programs and settings that they name."""

from __future__ import annotations

import configparser
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.files import (
    DEPLOY,
    DOCKERFILES,
    FROM_METADATA_NAME,
    MANIFESTS,
    ROOT,
    Container,
    Image,
    all_containers,
    compose,
    compose_containers,
    image,
    manifest_containers,
    objects,
    pod_template,
)
from tests.deploy.images import in_context
from zmqagents.config import RuntimeConfig, make_config
from zmqagents.forwarder.main import _fill_in, _parser, _settings
from zmqagents.forwarder.settings import DEFAULT_DRAIN_S, ForwarderSettings
from zmqagents.keys import make_key

GUIDE = (DEPLOY / "README.md").read_text()
IMAGES = [image(file.name.removesuffix(".Dockerfile")) for file in DOCKERFILES]
CONTAINERS = all_containers()
PODS = [(file, item) for file in MANIFESTS for item in objects(file) if pod_template(item) is not None]

SPARE_S = 5.0  # for what a process does when it ends, besides draining

# What Python reads, and the engine's own.
FOREIGN_VARIABLES = {"PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}

each_image = pytest.mark.parametrize("built", IMAGES, ids=lambda built: built.file.name)
each_container = pytest.mark.parametrize("container", CONTAINERS, ids=str)
each_pod = pytest.mark.parametrize(
    ("file", "item"), PODS, ids=[f"{file.name}:{item['metadata']['name']}" for file, item in PODS]
)


class Recorded(dict[str, str]):
    """An environment that notes what is read of it."""

    def __init__(self, variables: dict[str, str]) -> None:
        super().__init__(variables)
        self.read: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.read.add(name)
        return super().get(name, default)


def settings_of(container: Container, key_file: Path) -> tuple[RuntimeConfig | ForwarderSettings, set[str]]:
    """The settings that the program makes of its arguments and environment, and the variables that it reads."""
    key_file.write_text(make_key())
    own = {"ZMQAGENTS_CLUSTER_KEY_FILE": str(key_file)}
    labelled = {name: "pod-1" for name, value in container.environment.items() if value == FROM_METADATA_NAME}
    environment = Recorded({**container.environment, **labelled, **own})
    if not container.is_forwarder:
        return make_config({}, environment), environment.read
    options = _parser().parse_args(container.command[1:])
    _fill_in(options, environment)
    return _settings(options, environment), environment.read


def services() -> dict[str, dict[str, Any]]:
    """The Services of all manifests."""
    every = (item for file in MANIFESTS for item in objects(file))
    return {item["metadata"]["name"]: item for item in every if item["kind"] == "Service"}


def deployments_behind(service: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for _, item in PODS:
        template = pod_template(item)
        if template is not None and service["spec"]["selector"].items() <= template["metadata"]["labels"].items():
            yield item


# -- images --------------------------------------------------------------------------------------------------------


@each_image
def test_image_runs_a_command_that_exists(built: Image) -> None:
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    scripts = {line.split(" = ")[0] for line in metadata["options.entry_points"]["console_scripts"].split("\n") if line}
    entrypoint, _ = built.command()
    assert entrypoint == ["python", "-m"] or (len(entrypoint) == 1 and entrypoint[0] in scripts)


@each_container
def test_module_that_a_container_runs_exists(container: Container) -> None:
    if container.command[:2] == ("python", "-m"):
        assert importlib.util.find_spec(container.command[2]) is not None


@each_image
def test_image_runs_as_a_numbered_user_other_than_root(built: Image) -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", built.last("USER"))


def test_image_of_the_forwarder_has_the_versions_that_the_package_asks_for() -> None:
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    [installs] = [rest for word, rest in image("forwarder").instructions if word == "RUN"]
    asked = re.findall(r'"([^"]+)"', installs)
    assert asked
    assert set(asked) <= set(metadata["options"]["install_requires"].split())


def test_builder_gets_no_key_and_no_history() -> None:
    for path in ("examples/deploy/cluster.key", "cluster.key", ".git/config", ".venv/pyvenv.cfg", "tests/unit/a.py"):
        assert not in_context(path), path
    for path in ("zmqagents/cli/main.py", "zmqagents/protocol/SPEC.md", "examples/deploy/worker.py", "setup.cfg"):
        assert in_context(path), path


def test_key_beside_the_compose_file_is_not_committed() -> None:
    assert "/examples/deploy/cluster.key" in (ROOT / ".gitignore").read_text().splitlines()


# -- what holds for all containers ---------------------------------------------------------------------------------


@each_container
def test_container_has_settings_that_its_program_reads_and_takes(container: Container, tmp_path: Path) -> None:
    _, read = settings_of(container, tmp_path / "cluster.key")
    assert set(container.environment) - FOREIGN_VARIABLES <= read


@each_container
def test_container_needs_no_multicast(container: Container, tmp_path: Path) -> None:
    settings, _ = settings_of(container, tmp_path / "cluster.key")
    if isinstance(settings, RuntimeConfig):
        assert settings.discovery == "none"
        assert settings.seeds or settings.forwarders()


@each_container
def test_container_reads_the_key_where_it_is_mounted(container: Container) -> None:
    assert container.environment["ZMQAGENTS_CLUSTER_KEY_FILE"] == container.key_file


@each_container
def test_container_has_longer_to_end_than_it_drains(container: Container, tmp_path: Path) -> None:
    settings, _ = settings_of(container, tmp_path / "cluster.key")
    drain_s = settings.drain_timeout_s if isinstance(settings, RuntimeConfig) else DEFAULT_DRAIN_S
    if container.probes:  # a caller that has asked has nothing to drain
        assert container.grace_s >= drain_s + SPARE_S


@each_container
def test_container_listens_at_the_ports_that_it_declares(container: Container) -> None:
    assert set(container.ports.values()) in (set(), container.listened())
    if container.command == container.image.runs():
        assert container.image.ports() == container.ports_of_arguments()


@each_container
def test_container_is_probed_where_it_answers(container: Container) -> None:
    for probe in container.probes:
        asked = replace(container, command=probe.command).ports_of_arguments() if probe.command else {probe.port}
        assert len(asked) == 1
        assert asked <= container.ports_of_arguments()


# -- Kubernetes ----------------------------------------------------------------------------------------------------


@each_pod
def test_pod_is_confined(file: Path, item: dict[str, Any]) -> None:
    pod = item["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    assert "memory" in container["resources"]["limits"]


@each_pod
def test_pod_runs_as_the_user_of_its_image(file: Path, item: dict[str, Any]) -> None:
    pod = item["spec"]["template"]["spec"]
    [container] = [one for one in manifest_containers(file) if one.name == item["metadata"]["name"]]
    user = pod["securityContext"]
    assert f"{user['runAsUser']}:{user['runAsGroup']}" == container.image.last("USER")


@each_pod
def test_pod_mounts_the_key_for_its_user_alone(file: Path, item: dict[str, Any]) -> None:
    pod = item["spec"]["template"]["spec"]
    [volume] = pod["volumes"]
    assert volume["secret"]["defaultMode"] == 0o400
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]


@each_pod
def test_pod_asks_for_the_secret_that_the_guide_makes(file: Path, item: dict[str, Any]) -> None:
    [made] = re.findall(r"kubectl create secret generic (\S+) --from-file=(?:\S*/)?(\S+)", GUIDE)
    [volume] = item["spec"]["template"]["spec"]["volumes"]
    [container] = [one for one in manifest_containers(file) if one.name == item["metadata"]["name"]]
    assert (volume["secret"]["secretName"], Path(container.key_file).name) == made


@each_pod
def test_pod_gets_no_settings_from_the_names_of_services(file: Path, item: dict[str, Any]) -> None:
    assert item["spec"]["template"]["spec"]["enableServiceLinks"] is False


@each_pod
def test_pod_is_labelled_with_its_own_name(file: Path, item: dict[str, Any]) -> None:
    [container] = [one for one in manifest_containers(file) if one.name == item["metadata"]["name"]]
    assert container.is_forwarder or container.environment["INSTANCE_ID"] == FROM_METADATA_NAME


@each_pod
def test_pods_are_those_that_their_deployment_selects(file: Path, item: dict[str, Any]) -> None:
    if item["kind"] == "Deployment":
        assert item["spec"]["selector"]["matchLabels"].items() <= item["spec"]["template"]["metadata"]["labels"].items()
        assert item["spec"]["replicas"] >= 2


@pytest.mark.parametrize("container", [one for one in CONTAINERS if one.file in MANIFESTS], ids=str)
def test_pods_dial_a_name_that_stands_for_all_pods_behind_it(container: Container) -> None:
    assert container.dialled() or container.is_forwarder
    for name, port in container.dialled():
        service = services()[name]
        assert service["spec"]["clusterIP"] == "None"
        [target] = [one["targetPort"] for one in service["spec"]["ports"] if one["port"] == port]
        [behind] = deployments_behind(service)
        [file] = [file for file, item in PODS if item is behind]
        [dialled] = [one for one in manifest_containers(file) if one.name == behind["metadata"]["name"]]
        assert dialled.ports[target] == port  # a headless Service doesn't translate ports
        assert dialled.is_forwarder or service["spec"]["publishNotReadyAddresses"] is True


# -- Compose -------------------------------------------------------------------------------------------------------


def test_services_dial_services_at_ports_that_they_listen_at() -> None:
    containers = {container.name: container for container in compose_containers()}
    for container in containers.values():
        for name, port in container.dialled():
            assert port in containers[name].listened()


def test_services_use_secrets_that_come_from_the_ignored_file() -> None:
    read = compose()
    assert read["secrets"] == {"cluster_key": {"file": "./cluster.key"}}
    assert all(service["secrets"] == ["cluster_key"] for service in read["services"].values())


def test_services_are_confined() -> None:
    for service in compose()["services"].values():
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_replicas_do_not_share_one_label() -> None:
    for container in compose_containers():
        assert "INSTANCE_ID" not in container.environment
