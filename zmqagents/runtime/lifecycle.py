"""Starting and stopping: each in whatever order and number users call them, with nothing left behind."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import replace

from zmqagents.config import RuntimeConfig
from zmqagents.discovery.addresses import resolved
from zmqagents.errors import ForkedProcessError, RuntimeNotStartedError
from zmqagents.runtime.deadlines import until
from zmqagents.runtime.parts import Parts, Running
from zmqagents.runtime.signals import signals_handled
from zmqagents.runtime.waiting_room import WaitingRoom

logger = logging.getLogger("zmqagents")


class _Process:
    """This process; asking the system with each message would cost more than looking here."""

    def __init__(self) -> None:
        self.id = os.getpid()
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        self.id = os.getpid()


_process = _Process()


class _Starting(Awaitable[None]):
    """What ``start`` returns: awaited, it raises what went wrong; not awaited, that is logged."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task
        self._awaited = False
        task.add_done_callback(self._log_if_nobody_waits)

    def __await__(self) -> Generator[None, None, None]:
        self._awaited = True
        return asyncio.shield(self._task).__await__()

    def _log_if_nobody_waits(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self._awaited:
            logger.error("the runtime could not be started: %s", error, exc_info=error)


class Lifecycle:
    """The state of one runtime: stopped, starting, joined, stopping."""

    def __init__(self, config: RuntimeConfig, parts: Parts, room: WaitingRoom) -> None:
        self._config = config
        self._parts = parts
        self._room = room
        self._starting: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()
        self._background: BaseException | None = None
        self._failure: BaseException | None = None
        """What kept the last start from succeeding."""
        self._closed = False
        self._told_of_waiting = False
        self.running: Running | None = None
        """The parts from the moment the sockets are open."""
        self.joined: Running | None = None
        """The same, from the moment messages may go out."""
        self.process_id = _process.id

    @property
    def started(self) -> bool:
        """Whether ``start`` was called and ``stop`` has not ended."""
        return self._starting is not None

    def require_started(self) -> None:
        """RuntimeError, as AutoGen's, if it is not started."""
        self.check_process()
        if self._starting is None:
            reason = f": {self._failure}" if self._failure is not None else ""
            raise RuntimeNotStartedError(f"Runtime is not started{reason}") from self._failure

    def check_process(self) -> None:
        """ForkedProcessError in a child made by fork after the start."""
        if self._starting is not None and self.process_id != _process.id:
            raise ForkedProcessError(
                "this runtime was started in another process, before a fork: make a new one in this process"
            )

    def check_start_can_come(self) -> None:
        """Whether a message may wait for a start: RuntimeNotStartedError if that has failed, or after ``close``."""
        if self._starting is not None:
            return
        if self._failure is not None:
            raise RuntimeNotStartedError(f"the runtime could not be started: {self._failure}") from self._failure
        if self._closed:
            raise RuntimeNotStartedError("the runtime is closed: make a new one, or start this one again")
        if not self._told_of_waiting:
            self._told_of_waiting = True
            logger.warning("a call waits for the runtime to be started: call runtime.start()")

    def close(self) -> None:
        """Let no message wait for another start."""
        self._closed = True

    # -- start -------------------------------------------------------------------------------------------------

    def start(self) -> Awaitable[None]:
        """Begin to join. RuntimeError if it is started already."""
        self.check_process()
        if self._starting is not None:
            raise RuntimeError("Runtime is already started")
        self.process_id = _process.id
        self._failure = None
        self._closed = False
        self._stopped.clear()
        with until(None):  # whatever comes in is served in the context of this task
            self._starting = asyncio.get_running_loop().create_task(self._start())
        return _Starting(self._starting)

    async def _start(self) -> None:
        self._parts.telemetry.refresh()
        try:
            config = replace(self._config, advertise=await resolved(self._config.advertise))
            running = self.running = Running(config, self._parts)
            running.refresh_record()
            await running.cluster.join(running.inbound)
        except BaseException as error:
            await self._abort(error)
            raise
        self.joined = running
        self._room.open()

    async def _abort(self, error: BaseException) -> None:
        running, self.running = self.running, None
        self._starting = None
        self._failure = error
        if running is not None:
            running.tasks.close()
            await running.cluster.leave(0.0)
        await self._room.close(RuntimeNotStartedError(f"the runtime could not be started: {error}"))
        self._stopped.set()

    async def wait_until_joined(self) -> None:
        """Wait for a start that is under way; raises what went wrong in it."""
        self.require_started()
        if self._starting is not None:
            await asyncio.shield(self._starting)

    # -- stop --------------------------------------------------------------------------------------------------

    def background_exception(self, error: BaseException) -> None:
        """An event handler raised, and that is to come out of the stop."""
        if self._background is None:
            self._background = error
        if self.running is not None:
            self.running.driver.changed()

    async def stop_when(self, idle: Callable[[], bool]) -> None:
        """Stop once ``idle()``, or once an event handler has raised what is not to be ignored."""
        await self.wait_until_joined()
        running = self.running
        if running is not None:
            await running.driver.wait_until(lambda: idle() or self._background is not None, None)
        await self.stop()

    async def stop(self) -> None:
        """Drain, leave, and raise the exception that an event handler left behind."""
        self.require_started()
        if self._stopping is None:
            self._stopping = asyncio.get_running_loop().create_task(self._stop())
        await asyncio.shield(self._stopping)
        error, self._background = self._background, None
        if error is not None:
            raise error

    async def _stop(self) -> None:
        try:
            if self._starting is not None:
                await asyncio.wait([self._starting])
            running = self.running
            if running is not None:
                await self._drain(running)
        finally:
            if self.running is not None:
                self.running.tasks.close()
            self.running = self.joined = None
            self._starting = self._stopping = None
            self._stopped.set()

    async def _drain(self, running: Running) -> None:
        stopped = RuntimeNotStartedError("the runtime was stopped before the message was sent")
        running.cluster.announce_leaving()
        drained = await running.driver.wait_until(
            lambda: not running.tasks and not self._room.busy and running.node.agency.is_empty,
            self._config.drain_timeout_s,
        )
        await self._room.close(stopped)
        if not drained:
            logger.warning(
                "%d handlers still ran after drain_timeout_s=%g and were cancelled",
                len(running.tasks),
                self._config.drain_timeout_s,
            )
            await running.tasks.cancel_all()
        self.joined = None
        _abandon_calls(running)
        await running.cluster.leave(self._config.drain_timeout_s)
        _abandon_calls(running)  # those that a caller has made while this process left

    async def wait_until_stopped(self, signals: Sequence[signal.Signals]) -> None:
        """Return once stopped; the first of ``signals`` stops it."""
        self.require_started()
        starting = self._starting
        stops: list[asyncio.Task[None]] = []

        def on_signal(number: signal.Signals) -> None:
            logger.info("%s: leaving the cluster", number.name)
            stops.append(asyncio.get_running_loop().create_task(self.stop()))

        async with signals_handled(signals, on_signal):
            await self._stopped.wait()
        for stop in stops:
            await stop
        if starting is not None and starting.done() and not starting.cancelled():
            starting.result()  # raises what kept it from starting


def _abandon_calls(running: Running) -> None:
    for token in running.node.pending.abandon_all():
        if isinstance(token, asyncio.Future) and not token.done():  # else a call of the node's own
            token.set_exception(RuntimeNotStartedError("the runtime was stopped while the call was in flight"))
