"""Reads examples/deploy: what each container of each file runs, with what, and what is asked of it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "examples" / "deploy"
COMPOSE = DEPLOY / "docker-compose.yml"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
DOCKERFILES = sorted(DEPLOY.glob("*.Dockerfile"))

FROM_METADATA_NAME = "<metadata.name>"  # stands for the value of a variable that is the pod's name

_PORT = re.compile(r":(\d+)(?=$|[,/'])")


@dataclass(frozen=True)
class Image:
    """What the last stage of a Dockerfile says."""

    file: Path
    instructions: tuple[tuple[str, str], ...]
    """Those of all stages, continued lines joined."""

    def last(self, keyword: str) -> str:
        """The last instruction of that kind; empty if there is none."""
        return next((rest for word, rest in reversed(self.instructions) if word == keyword), "")

    def command(self) -> tuple[list[str], list[str]]:
        """ENTRYPOINT and CMD; ValueError if they go through a shell."""
        return json.loads(self.last("ENTRYPOINT")), json.loads(self.last("CMD"))

    def runs(self) -> tuple[str, ...]:
        """The command of a container that says nothing else."""
        entrypoint, rest = self.command()
        return (*entrypoint, *rest)

    def copied(self) -> list[tuple[list[str], str]]:
        """Sources in the build context, and destination, of each COPY of the last stage."""
        start = max(number for number, (word, _) in enumerate(self.instructions) if word == "FROM")
        found = [rest.split() for word, rest in self.instructions[start:] if word == "COPY" and "--from" not in rest]
        return [(words[:-1], words[-1]) for words in found]

    def variables(self) -> dict[str, str]:
        """ENV of the last stage, without PATH, which is about the image's file system."""
        pairs = (item.split("=", 1) for item in shlex.split(self.last("ENV")))
        return {name: value for name, value in pairs if name != "PATH"}

    def ports(self) -> set[int]:
        """What it exposes."""
        return {int(port) for port in self.last("EXPOSE").split()}


@dataclass(frozen=True)
class Probe:
    """A question that is asked again and again: an HTTP path at a port, or a command."""

    path: str = ""
    port: int = 0
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class Container:
    """One container, of a compose file or of a pod."""

    name: str
    file: Path
    image: Image
    command: tuple[str, ...]
    """What runs: the image's entrypoint and what follows it."""
    environment: Mapping[str, str]
    key_file: str
    """Where the cluster key is mounted; empty if it isn't."""
    probes: tuple[Probe, ...]
    """Readiness first."""
    ports: Mapping[str, int]
    """The names that a manifest gives to ports."""
    grace_s: float
    """From SIGTERM to SIGKILL."""

    def __str__(self) -> str:
        return f"{self.file.name}:{self.name}"

    @property
    def is_forwarder(self) -> bool:
        """Whether it runs the forwarder, not a program of agents."""
        return self.command[0] == "zmqagents-forwarder"

    def ports_of_arguments(self) -> set[int]:
        """The ports in its arguments."""
        return {int(port) for argument in self.command for port in _PORT.findall(argument)}

    def listened(self) -> set[int]:
        """The ports in its arguments and settings."""
        return self.ports_of_arguments() | {
            int(self.environment[name])
            for name in ("ZMQAGENTS_PORT", "ZMQAGENTS_GOSSIP_PORT")
            if name in self.environment
        }

    def dialled(self) -> list[tuple[str, int]]:
        """Host and port of the forwarders and seeds."""
        texts = (self.environment.get("BROKER_URL", ""), self.environment.get("ZMQAGENTS_SEEDS", ""))
        return [(host, int(port)) for text in texts for host, port in re.findall(r"tcp://([^:,]+):(\d+)", text)]


def image(name: str) -> Image:
    """That of ``examples/deploy/NAME.Dockerfile``."""
    file = DEPLOY / f"{name}.Dockerfile"
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    words = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return Image(file, tuple((word, rest) for word, rest in words))


def compose() -> dict[str, Any]:
    """The compose file."""
    read: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return read


def objects(file: Path) -> list[dict[str, Any]]:
    """The objects of a manifest."""
    return [item for item in yaml.safe_load_all(file.read_text()) if item]


def compose_containers() -> Iterator[Container]:
    """One for each service."""
    for name, service in compose()["services"].items():
        built = image(Path(service["build"]["dockerfile"]).name.removesuffix(".Dockerfile"))
        check = service.get("healthcheck", {}).get("test", [])
        yield Container(
            name=name,
            file=COMPOSE,
            image=built,
            command=_command(built, None, service.get("command")),
            environment={**built.variables(), **service["environment"]},
            key_file="".join(f"/run/secrets/{secret}" for secret in service["secrets"]),
            probes=(Probe(command=tuple(check[1:])),) if check else (),
            ports={},
            grace_s=float(service.get("stop_grace_period", "10s").removesuffix("s")),
        )


def pod_template(item: Mapping[str, Any]) -> dict[str, Any] | None:
    """The pods that an object makes; None if it makes none."""
    template: dict[str, Any] | None = item["spec"].get("template")
    return template


def manifest_containers(file: Path) -> Iterator[Container]:
    """One for each Deployment and Job; all of them have one container."""
    for item in objects(file):
        template = pod_template(item)
        if template is not None:
            [container] = template["spec"]["containers"]
            yield _of_pod(item["metadata"]["name"], file, template["spec"], container)


def all_containers() -> list[Container]:
    """Those of all files."""
    return [*compose_containers(), *(one for file in MANIFESTS for one in manifest_containers(file))]


def _of_pod(name: str, file: Path, pod: Mapping[str, Any], container: Mapping[str, Any]) -> Container:
    built = image(container["image"].removeprefix("zmqagents-").partition(":")[0])
    ports = {port["name"]: int(port["containerPort"]) for port in container.get("ports", ())}
    gets = [container[kind]["httpGet"] for kind in ("readinessProbe", "livenessProbe") if kind in container]
    return Container(
        name=name,
        file=file,
        image=built,
        command=_command(built, container.get("command"), container.get("args")),
        environment={**built.variables(), **{one["name"]: _value(one) for one in container["env"]}},
        key_file=_key_file(pod, container),
        probes=tuple(Probe(path=get["path"], port=ports[get["port"]]) for get in gets),
        ports=ports,
        grace_s=pod.get("terminationGracePeriodSeconds", 30),
    )


def _command(built: Image, entrypoint: Sequence[str] | None, arguments: Sequence[str] | None) -> tuple[str, ...]:
    first, rest = built.command()
    return (*(entrypoint or first), *(rest if arguments is None and entrypoint is None else arguments or ()))


def _value(variable: Mapping[str, Any]) -> str:
    if "value" in variable:
        return str(variable["value"])
    assert variable["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    return FROM_METADATA_NAME


def _key_file(pod: Mapping[str, Any], container: Mapping[str, Any]) -> str:
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    [volume] = [volume for volume in pod["volumes"] if "secret" in volume]
    return f"{mounts[volume['name']]}/cluster.key"
