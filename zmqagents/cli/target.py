"""Which cluster a command means: its options, completed from the environment as any runtime's settings are."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from zmqagents.config import RuntimeConfig, Settings, keys_from_environment, keys_from_file, make_config


@dataclass(frozen=True, slots=True)
class Target:
    """What the command line says of the cluster. A key is never an argument: ``ps`` shows those to everybody."""

    cluster: str | None = None
    seeds: tuple[str, ...] = ()
    discovery: str | None = None
    interfaces: tuple[str, ...] = ()
    listen: tuple[str, ...] = ()
    key_file: str | None = None

    def keys(self) -> dict[str, str]:
        """The keys by setting, from the file or the environment, unchecked. ConfigError for a file that is none."""
        if self.key_file is not None:
            return keys_from_file(self.key_file, f"--key-file={self.key_file!r}")
        return keys_from_environment(os.environ)

    def settings(self) -> Settings:
        """The settings that the options give. ConfigError for a key file that is none."""
        settings = Settings()
        if self.cluster is not None:
            settings["cluster"] = self.cluster
        if self.seeds:
            settings["seeds"] = self.seeds
        if self.discovery is not None:
            settings["discovery"] = self.discovery
        if self.interfaces:
            settings["interfaces"] = self.interfaces
        if self.listen:
            settings["listen"] = self.listen
        if self.key_file is not None:
            keys = self.keys()
            settings["cluster_key"] = keys["cluster_key"]
            settings["other_cluster_key"] = keys.get("other_cluster_key")
        return settings

    def config(self) -> RuntimeConfig:
        """All settings, as a program with this environment would have them. ConfigError if one is wrong."""
        return make_config(self.settings())

    def guest_settings(self) -> Settings:
        """The same for a process that only visits, with nothing of the environment that is another process's own.

        Those are its ports, the addresses that it tells, and its label: a second process with that would be taken for
        its next life.
        """
        return {
            **self.settings(),
            "port": 0,
            "gossip_port": 0,
            "advertise": (),
            "instance_id": f"zmqagents-{socket.gethostname()[:200]}-{os.getpid()}",
        }
