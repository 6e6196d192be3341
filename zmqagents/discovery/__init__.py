"""Finding peers: by mDNS, or by addresses that the user gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zmqagents.discovery.base import Advertisement, CombinedDiscovery, Discovery, Found, Sighting
from zmqagents.discovery.endpoints import format_endpoint, parse_endpoint
from zmqagents.discovery.memory import MemoryDiscovery, MemoryNetwork
from zmqagents.discovery.static import StaticDiscovery

if TYPE_CHECKING:
    from zmqagents.discovery.mdns import MdnsDiscovery

__all__ = [
    "Advertisement",
    "CombinedDiscovery",
    "Discovery",
    "Found",
    "MdnsDiscovery",
    "MemoryDiscovery",
    "MemoryNetwork",
    "Sighting",
    "StaticDiscovery",
    "format_endpoint",
    "parse_endpoint",
]


def __getattr__(name: str) -> object:
    """Import zeroconf only where mDNS is used."""
    if name == "MdnsDiscovery":
        from zmqagents.discovery.mdns import MdnsDiscovery  # noqa: PLC0415

        return MdnsDiscovery
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
