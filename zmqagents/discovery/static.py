"""Seeds: peers that the user names, by address or by a host name that stands for all of its addresses.

A name is looked up again and again (every 5 s), because what a name means changes: a Kubernetes headless Service has
no address before its first pod is ready and a new one for each pod that follows. Each address becomes a sighting of its
own, since behind one name there may be many peers. A seed carries no cluster and no node id; that a seed is in our
cluster, or is not ourselves under another address, shows when it is greeted.

Look-ups run in the event loop's own executor, one at a time per name, so a name server that hangs holds one thread per
name and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence

from zmqagents.discovery.base import Advertisement, Found, Sighting
from zmqagents.discovery.endpoints import format_endpoint, ip_or_none, parse_endpoint
from zmqagents.errors import ConfigError

__all__ = ["MAX_ADDRESSES_PER_NAME", "Resolver", "StaticDiscovery", "parse_endpoint", "resolve"]

_log = logging.getLogger(__name__)

RESOLVE_EVERY_S = 5.0  # the negative TTL of a cluster's name server is of this order: asking more often shows no more
SETTLE_S = 1.0  # a name server that works answers in less; one that does not must not hold up the start
MAX_ADDRESSES_PER_NAME = 1024  # more than any cluster that this project means to serve has processes behind one name

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Looks a host name up for a TCP port: all its addresses, or OSError."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """All addresses of ``host``, IPv4 and IPv6, a link-local one with its zone. Raises OSError."""
    answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses: dict[str, None] = {}
    for _family, _type, _proto, _name, address in answers:
        zone = f"%{address[3]}" if len(address) == 4 and address[3] else ""
        addresses[f"{address[0]}{zone}"] = None
    return tuple(addresses)


class StaticDiscovery:
    """Shows the seeds, and nothing of this node to anybody.

    Raises ConfigError for a seed that is not ``tcp://host:port``.
    """

    def __init__(
        self,
        seeds: Sequence[str],
        *,
        resolve_every_s: float = RESOLVE_EVERY_S,
        resolver: Resolver = resolve,
        what: str = "seed",
    ) -> None:
        """``what`` the endpoints lead to, for people."""
        if isinstance(seeds, str):
            raise ConfigError(f"seeds is the text {seeds!r}: write a list, seeds=[{seeds!r}]")
        if resolve_every_s <= 0:
            raise ConfigError(f"resolve_every_s is {resolve_every_s}: write a number of seconds above 0")
        self._seeds = tuple(dict.fromkeys(_parse_seed(seed, what) for seed in seeds))
        self._what = what
        self._resolve_every_s = resolve_every_s
        self._resolver = resolver
        self._own: Advertisement | None = None
        self._found: Found | None = None
        self._shown: dict[tuple[str, int], frozenset[str]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._pending: set[tuple[str, int]] = set()
        self._looked_up = asyncio.Event()
        self._stopped = False

    async def start(self, own: Advertisement, found: Found) -> None:
        """Show the seeds that are addresses, and start to look up the others."""
        if self._own is not None or self._stopped:
            raise RuntimeError("a discovery is started once: make a new one")
        self._own, self._found = own, found
        names = [seed for seed in self._seeds if ip_or_none(seed[0]) is None]
        for seed in self._seeds:
            if seed not in names:
                self._take(seed, (seed[0],))
        self._pending = set(names)
        if not names:
            self._looked_up.set()
        self._tasks = [asyncio.create_task(self._follow(name), name=f"seed {name[0]}") for name in names]

    async def settled(self) -> None:
        """Returns once each name has been looked up once, or after a second."""
        if self._own is None:
            return
        try:
            await asyncio.wait_for(self._looked_up.wait(), SETTLE_S)
        except asyncio.TimeoutError:
            slow = ", ".join(sorted(host for host, _port in self._pending))
            _log.info("Looking up the %ss takes more than %.0f s, going on without: %s", self._what, SETTLE_S, slow)
        await asyncio.sleep(0)  # callbacks that are queued come first

    async def update(self, own: Advertisement) -> None:
        """Take note of the addresses that are our own."""
        if self._own is not None:
            self._own = own

    async def stop(self) -> None:
        """End the look-ups."""
        self._stopped = True
        self._looked_up.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self, seed: tuple[str, int]) -> None:
        """Look one name up, for ever."""
        failing = False
        while True:
            try:
                addresses = await self._resolver(*seed)
            except (OSError, UnicodeError) as error:
                if not failing:
                    text = "The %s name %s does not resolve (%s); it is tried again every %g s, silently"
                    _log.warning(text, self._what, seed[0], error, self._resolve_every_s)
                failing = True
            else:
                if failing:
                    _log.info("The %s name %s resolves now", self._what, seed[0])
                failing = False
                self._take(seed, addresses)
            self._pending.discard(seed)
            if not self._pending:
                self._looked_up.set()
            await asyncio.sleep(self._resolve_every_s)

    def _take(self, seed: tuple[str, int], addresses: Sequence[str]) -> None:
        """Show the addresses that are new; one that went away and comes again is new."""
        before = self._shown.get(seed, frozenset())
        if len(addresses) > MAX_ADDRESSES_PER_NAME > len(before):
            text = "The %s name %s has %d addresses; the first %d are used"
            _log.warning(text, self._what, seed[0], len(addresses), MAX_ADDRESSES_PER_NAME)
        now = tuple(dict.fromkeys(addresses[:MAX_ADDRESSES_PER_NAME]))
        self._shown[seed] = frozenset(now)
        for address in now:
            if address not in before and not self._is_own(address, seed[1]):
                endpoint = format_endpoint(address, seed[1])
                asyncio.get_running_loop().call_soon(self._show, Sighting((endpoint,), None, "seed"))

    def _is_own(self, address: str, port: int) -> bool:
        own = () if self._own is None else self._own.endpoints
        return any((ip_or_none(host), own_port) == (ip_or_none(address), port) for host, own_port in _parsed(own))

    def _show(self, sighting: Sighting) -> None:
        if self._found is not None and not self._stopped:
            self._found(sighting)


def _parse_seed(seed: str, what: str) -> tuple[str, int]:
    host, port = parse_endpoint(seed)
    address = ip_or_none(host)
    if address is not None and (address.is_unspecified or address.is_multicast):
        raise ConfigError(f"the {what} {seed!r} is no address of one host: write the address that it listens on")
    return host, port


def _parsed(endpoints: Sequence[str]) -> list[tuple[str, int]]:
    return [parse_endpoint(endpoint) for endpoint in endpoints]
