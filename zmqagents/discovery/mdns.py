"""Peers found by multicast DNS: DNS-SD service ``_zmqagents._tcp.local.`` (RFC 6762, RFC 6763), by way of zeroconf.

A node announces one instance, named by its node id, and browses for the others. Its record is laid out in ``advert``,
the choice of interfaces in ``interfaces``. Decided here:

* No probing (``cooperating_responders``): instance names are random, so the second that RFC 6762 section 8.1 spends on
  finding a conflict is spent for nothing. Should two nodes have one name all the same, each goes on; nobody is renamed.
* Browsing asks for multicast answers only (QM), because several processes of a host share port 5353; what is there at
  the start is learnt by a one-shot query (``oneshot``), which takes milliseconds.
* On Linux the sockets of a node that speaks on loopback alone are tied to that interface, because zeroconf listens on
  the wildcard address: without it the whole network could ask what runs here. Elsewhere only answers are filtered.
* The goodbye is sent once, as RFC 6762 section 10.1 has it, rather than zeroconf's three times in 250 ms: a record that
  lingers in a cache costs a dial that fails.
* A host without multicast is no error: one warning that says what to use instead, and on without.

zeroconf bounds its own cache (10,000 records) and packet sizes; what we keep beside it is bounded in ``advert`` and
below.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import sys
from typing import TYPE_CHECKING, Any

from zeroconf import (  # type: ignore[attr-defined]  # the DNS classes are exported, but missing in its __all__
    DNSIncoming,
    DNSOutgoing,
    DNSQuestion,
    DNSQuestionType,
    DNSText,
    Error,
    ServiceStateChange,
    Zeroconf,
)
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from zmqagents.discovery.advert import Sieve, dialable, write_txt
from zmqagents.discovery.interfaces import MAX_INTERFACES, Adapter, LocalAddress, choose, list_adapters, multicast_error
from zmqagents.discovery.oneshot import ask
from zmqagents.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zmqagents.discovery.base import Advertisement, Found, Sighting

_log = logging.getLogger(__name__)

SERVICE_TYPE = "_zmqagents._tcp.local."
# On loopback the answers to the one-shot query take 1 to 3 ms; up to 60 ms where busy processes outnumber the cores. A
# peer that takes longer is shown when its answer comes, and has heard our announcement meanwhile.
QUIET_S = 0.1  # silence after which no further answer is expected
SETTLE_S = 0.2  # bound of the wait while answers keep coming
ANSWERS_S = 1.0  # how long late answers to the one-shot query are taken; by then the browser has asked by itself
MAX_RESOLVING = 16  # records asked for at once because they came without their TXT; ours never do
RESOLVE_TIMEOUT_MS = 3_000  # zeroconf's own default: three queries
INSTEAD = "use seeds=['tcp://host:port'] or broker_url= to reach other processes"

_TYPE_PTR = 12  # RFC 1035 section 3.2.2
_CLASS_IN = 1  # RFC 1035 section 3.2.4
_FLAGS_QUERY = 0


class MdnsDiscovery:
    """Finds the nodes of one cluster on this host, or on the links of chosen interfaces.

    ``interfaces`` is "loopback", "all" (at most 8 interfaces, containers' bridges only where there is nothing better)
    or names ("eth0") and addresses ("10.0.0.5", "fd00::5"). ``settle_s`` bounds the wait in ``settled``.
    """

    def __init__(self, *, interfaces: str | Sequence[str] = "loopback", settle_s: float = SETTLE_S) -> None:
        self._interfaces = (interfaces,) if isinstance(interfaces, str) else tuple(interfaces)
        if not self._interfaces or not all(self._interfaces):
            raise ConfigError("interfaces is empty: write 'loopback', 'all', or a list of names or addresses")
        if settle_s < 0:
            raise ConfigError(f"settle_s is {settle_s}: write a number of seconds, 0 for not to wait")
        self._settle_s = settle_s
        self._own: Advertisement | None = None
        self._found: Found | None = None
        self._sieve: Sieve | None = None
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._announced: AsyncServiceInfo | None = None
        self._announcing: asyncio.Task[Any] | None = None
        self._questions: list[asyncio.DatagramTransport] = []
        self._questions_end: asyncio.TimerHandle | None = None
        self._question_id = random.randrange(1, 1 << 16)
        self._resolving: dict[str, asyncio.Task[None]] = {}
        self._asked_s: float | None = None
        self._last_news_s = 0.0
        self._closing: asyncio.Task[None] | None = None

    async def start(self, own: Advertisement, found: Found) -> None:
        """Announce ``own`` and browse. Raises ConfigError for an interface that isn't there or a wrong endpoint."""
        if self._own is not None or self._closing is not None:
            raise RuntimeError("a discovery is started once: make a new one")
        write_txt(own)  # raises before anything is open
        self._own, self._found = own, found
        try:
            await self._open(own)
        except BaseException:
            await self.stop()
            raise

    async def settled(self) -> None:
        """Returns when the answers to our question have been quiet for 0.1 s, after ``settle_s`` at the latest."""
        if self._asked_s is None:
            return
        loop = asyncio.get_running_loop()
        while self._closing is None:
            until = min(self._asked_s + self._settle_s, max(self._asked_s, self._last_news_s) + QUIET_S)
            left = until - loop.time()
            await asyncio.sleep(max(0.0, left))  # once at least: callbacks that are queued come first
            if left <= 0:
                return

    async def update(self, own: Advertisement) -> None:
        """Announce the changed record; who cached the old one drops it."""
        write_txt(own)
        if self._own is None or self._closing is not None:
            return
        self._own = own
        if self._sieve is not None:
            self._sieve.own = own
        await self._announce(own)

    async def stop(self) -> None:
        """Say goodbye and close everything; takes milliseconds."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="mdns close")
        await asyncio.shield(self._closing)

    async def _open(self, own: Advertisement) -> None:
        adapters = list_adapters()
        locals_ = self._choose(adapters)
        if not locals_:
            return
        host = [address for adapter in adapters for address in adapter.addresses]
        beyond = {local.index for local in locals_ if not local.is_loopback}
        zone = str(*beyond) if len(beyond) == 1 else None
        self._sieve = Sieve(own, host_addresses=host, loopback_only=not beyond, zone=zone)
        try:
            self._zeroconf = AsyncZeroconf(interfaces=[one.index if one.is_ipv6 else one.address for one in locals_])
            await self._zeroconf.zeroconf.async_wait_for_start()
        except (OSError, Error) as error:
            _log.warning("mDNS can't be started (%s); peers are not discovered: %s", error, INSTEAD)
            if self._zeroconf is not None:
                await self._zeroconf.async_close()
                self._zeroconf = None
            return
        zeroconf = self._zeroconf.zeroconf
        if not beyond:
            _tie_to_interface(zeroconf, locals_[0].interface)
        self._browser = AsyncServiceBrowser(
            zeroconf, SERVICE_TYPE, handlers=[self._on_change], question_type=DNSQuestionType.QM
        )
        await self._announce(own)
        await self._ask(locals_)

    def _choose(self, adapters: Sequence[Adapter]) -> tuple[LocalAddress, ...]:
        choice = choose(self._interfaces, adapters, multicast_error)
        for interface, error in choice.broken:
            _log.warning("No multicast on %s (%s); peers are not discovered there: %s", interface, error, INSTEAD)
        if choice.over_cap:
            text = "mDNS uses %d interfaces at most and leaves out %s; name the ones to use: interfaces=[...]"
            _log.warning(text, MAX_INTERFACES, ", ".join(choice.over_cap))
        if not choice.addresses and not choice.broken:
            _log.warning("No interface of this host carries multicast; peers are not discovered: %s", INSTEAD)
        return choice.addresses

    async def _announce(self, own: Advertisement) -> None:
        """Register, update or withdraw our instance, whichever it takes."""
        if self._zeroconf is None or self._zeroconf.zeroconf.done:
            return
        self._cancel_announcing()
        info = _service_info(own)
        before, self._announced = self._announced, info
        if before is not None and (info is None or info.name != before.name):
            self._say_goodbye(self._zeroconf.zeroconf)
            before = None
        if info is None:
            return
        if before is None:
            announcing = await self._zeroconf.async_register_service(info, cooperating_responders=True)
        else:
            announcing = await self._zeroconf.async_update_service(info)
        self._announcing = asyncio.ensure_future(announcing)

    async def _ask(self, locals_: Sequence[LocalAddress]) -> None:
        """Ask who is there, once, from each address."""
        out = DNSOutgoing(_FLAGS_QUERY, multicast=False, id_=self._question_id)
        out.add_question(DNSQuestion(SERVICE_TYPE, _TYPE_PTR, _CLASS_IN))
        (query,) = out.packets()
        for local in locals_:
            try:
                self._questions.append(await ask(query, local, self._on_answer))
            except OSError as error:
                text = "Multicast from %s (%s) fails (%s); peers may not be discovered there: %s"
                _log.warning(text, local.interface, local.address, error, INSTEAD)
        loop = asyncio.get_running_loop()
        self._asked_s = loop.time()
        self._questions_end = loop.call_later(ANSWERS_S, self._close_questions)

    def _on_answer(self, data: bytes) -> None:
        """A datagram that came back for our question."""
        answer = DNSIncoming(data)
        if not answer.valid or not answer.is_response() or answer.id != self._question_id:
            return
        for record in answer.answers():
            if isinstance(record, DNSText) and _is_instance(record.name) and self._sieve is not None:
                self._show(self._sieve.sift(record.name, record.text))

    def _on_change(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        """Called by the browser, in the event loop, for each instance that comes, changes or goes."""
        if self._sieve is None or self._closing is not None:
            return
        if state_change is ServiceStateChange.Removed:
            self._sieve.forget(name)
            return
        try:
            info = AsyncServiceInfo(service_type, name)
        except Error as error:
            self._sieve.reject(name, repr(error))
            return
        info.load_from_cache(zeroconf)
        if info.text:
            self._read(info)
        elif name not in self._resolving and len(self._resolving) < MAX_RESOLVING:
            self._resolving[name] = asyncio.create_task(self._resolve(zeroconf, info), name=f"mdns resolve {name:.80}")

    async def _resolve(self, zeroconf: Zeroconf, info: AsyncServiceInfo) -> None:
        """Ask for the rest of an instance whose TXT record did not come along."""
        try:
            await info.async_request(zeroconf, RESOLVE_TIMEOUT_MS)
            if info.text:
                self._read(info)
        except Error as error:
            _log.debug("mDNS request for %.80r: %r", info.name, error)
        finally:
            self._resolving.pop(info.name, None)

    def _read(self, info: AsyncServiceInfo) -> None:
        if self._sieve is not None:
            self._show(self._sieve.sift(info.name, info.text, addresses=info.parsed_addresses(), port=info.port))

    def _show(self, sighting: Sighting | None) -> None:
        """Queue the callback: should it raise, the event loop reports it, and zeroconf is not disturbed."""
        if sighting is not None:
            loop = asyncio.get_running_loop()
            self._last_news_s = loop.time()
            loop.call_soon(self._deliver, sighting)

    def _deliver(self, sighting: Sighting) -> None:
        if self._found is not None and self._closing is None:
            self._found(sighting)

    def _say_goodbye(self, zeroconf: Zeroconf) -> None:
        goodbye = zeroconf.generate_unregister_all_services()
        if goodbye is not None:
            zeroconf.async_send(goodbye)

    def _cancel_announcing(self) -> None:
        if self._announcing is not None:
            self._announcing.cancel()

    def _close_questions(self) -> None:
        if self._questions_end is not None:
            self._questions_end.cancel()
        for question in self._questions:
            question.close()
        self._questions.clear()

    async def _close(self) -> None:
        tasks: list[asyncio.Task[Any]] = [*self._resolving.values()]
        if self._announcing is not None:
            tasks.append(self._announcing)
        for task in tasks:
            task.cancel()
        self._close_questions()
        if self._zeroconf is not None:
            self._say_goodbye(self._zeroconf.zeroconf)
            if self._browser is not None:
                await self._browser.async_cancel()
            await self._zeroconf.async_close()
        await asyncio.gather(*tasks, return_exceptions=True)


def _service_info(own: Advertisement) -> AsyncServiceInfo | None:
    """What zeroconf is to announce, None where there is nothing to dial."""
    endpoints = dialable(own.endpoints)
    if not endpoints:
        return None
    label = own.node_id.hex()
    return AsyncServiceInfo(
        SERVICE_TYPE,
        f"{label}.{SERVICE_TYPE}",
        port=endpoints[0][1],
        properties=write_txt(own),
        server=f"{label}.local.",
        parsed_addresses=list(dict.fromkeys(str(address).partition("%")[0] for address, _port in endpoints)),
    )


def _is_instance(name: str) -> bool:
    return name.lower().endswith(f".{SERVICE_TYPE}")


def _tie_to_interface(zeroconf: Zeroconf, interface: str) -> None:
    """Let the sockets hear this interface only (Linux 5.7 and later allow it to anybody)."""
    if not sys.platform.startswith("linux"):
        return
    for reader in zeroconf.engine.readers:
        with socket.socket(fileno=os.dup(reader.fileno)) as alias:
            try:
                alias.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            except OSError as error:
                _log.debug("Can't tie mDNS to %s: %s", interface, error)
