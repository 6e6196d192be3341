"""What a remote handler raises, as its caller sees it."""

from __future__ import annotations

import asyncio
import errno
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from autogen_core import MessageContext, RoutedAgent, message_handler
from autogen_core.exceptions import CantHandleException
from autogen_core.tool_agent import ToolNotFoundException

from tests.integration.agents import agent
from tests.integration.clusters import Cluster, within
from tests.integration.messages import Number, Text
from tests.integration.processes import Launch
from zmqagents import RemoteCallError, ZmqAgentRuntime

pytestmark = pytest.mark.integration


class OrderError(Exception):
    """A user's own, which asks for other arguments than those it keeps."""

    def __init__(self, order: int, *, reason: str) -> None:
        super().__init__(f"order {order}: {reason}")
        self.order = order
        self.reason = reason
        self.unsendable = object()


class MissingFileError(OSError):
    """A user's own, on top of one of Python's that keeps its arguments in slots."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.ENOENT, "not there", path)


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


def undecodable() -> Exception:
    try:
        b"a\xff".decode()
    except UnicodeDecodeError as error:
        return error
    raise AssertionError


def caused() -> Exception:
    try:
        raise LookupError("the root of it")
    except LookupError as cause:
        error = ValueError("what came of it")
        error.__cause__ = cause
        return error


RAISED: dict[str, Callable[[], BaseException]] = {
    "value": lambda: ValueError("wrong", 7),
    "key": lambda: KeyError("name"),
    "empty": ValueError,
    "file": lambda: FileNotFoundError(errno.ENOENT, "not there", "/tmp/x"),
    "unicode": undecodable,
    "syntax": lambda: SyntaxError("bad", ("<text>", 1, 2, "x =", 1, 3)),
    "assertion": lambda: AssertionError("no"),
    "surrogate": lambda: ValueError("lone \ud800 surrogate"),
    "cant_handle": lambda: CantHandleException("not me"),
    "tool": lambda: ToolNotFoundException(call_id="7", content="which?", name="tool"),
    "order": lambda: OrderError(7, reason="sold out"),
    "missing": lambda: MissingFileError("/tmp/x"),
    "unspeakable": UnspeakableError,
    "caused": caused,
    "unsendable": lambda: ValueError(object()),
    "cancelled": asyncio.CancelledError,
    "timeout": asyncio.TimeoutError,
    "stop_iteration": lambda: StopIteration(1),
}


@dataclass
class Raise:
    what: str


class Raiser(RoutedAgent):
    """Raises what it is told."""

    def __init__(self) -> None:
        super().__init__("raises")

    @message_handler
    async def on_raise(self, message: Raise, ctx: MessageContext) -> Text:
        error = RAISED[message.what]()
        raise error

    async def save_state(self) -> dict[str, Any]:
        raise OSError(errno.EIO, "the disk is gone")


async def raised(caller: ZmqAgentRuntime, what: str) -> BaseException:
    """What a call ends with whose handler raises that."""
    try:
        await within(caller.send_message(Raise(what), agent("raiser")))
    except BaseException as error:  # noqa: BLE001 - CancelledError among them
        return error
    raise AssertionError("nothing was raised")


def shown(error: BaseException) -> str:
    """All that Python prints of an exception that nobody catches; before 3.11 it left the notes out."""
    printed = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return printed if sys.version_info >= (3, 11) else printed + "".join(vars(error).get("__notes__", ()))


@pytest.mark.parametrize(
    ("what", "cls", "args", "text"),
    [
        ("value", ValueError, ("wrong", 7), "('wrong', 7)"),
        ("key", KeyError, ("name",), "'name'"),
        ("empty", ValueError, (), ""),
        ("assertion", AssertionError, ("no",), "no"),
        ("file", FileNotFoundError, (errno.ENOENT, "not there"), "[Errno 2] not there: '/tmp/x'"),
        ("unicode", UnicodeDecodeError, ("utf-8", b"a\xff", 1, 2, "invalid start byte"), str(undecodable())),
        ("syntax", SyntaxError, None, "bad (<text>, line 1)"),
        ("cant_handle", CantHandleException, ("not me",), "not me"),
        ("timeout", asyncio.TimeoutError, (), ""),
    ],
)
async def test_exception_of_python_or_autogen_keeps_its_class_arguments_and_text(
    cluster: Cluster, what: str, cls: type[BaseException], args: tuple[object, ...] | None, text: str
) -> None:
    _, caller = await cluster.pair(Raiser)
    error = await raised(caller, what)
    assert type(error) is cls
    assert str(error) == text
    assert args is None or error.args == args


async def test_os_error_keeps_number_and_file_name(cluster: Cluster) -> None:
    _, caller = await cluster.pair(Raiser)
    error = await raised(caller, "file")
    assert isinstance(error, FileNotFoundError)
    assert (error.errno, error.filename) == (errno.ENOENT, "/tmp/x")


async def test_autogen_exception_keeps_its_attributes(cluster: Cluster) -> None:
    _, caller = await cluster.pair(Raiser)
    error = await raised(caller, "tool")
    assert isinstance(error, ToolNotFoundException)
    assert (error.call_id, error.content, error.name) == ("7", "which?", "tool")


async def test_registered_exception_keeps_its_class_and_what_json_can_carry_of_its_attributes(cluster: Cluster) -> None:
    _, caller = await cluster.pair(Raiser, exceptions=[OrderError])
    error = await raised(caller, "order")
    assert type(error) is OrderError
    assert (str(error), error.order, error.reason) == ("order 7: sold out", 7, "sold out")


async def test_exception_can_be_registered_later(cluster: Cluster) -> None:
    _, caller = await cluster.pair(Raiser)
    caller.register_exception(MissingFileError)
    error = await raised(caller, "missing")
    assert type(error) is MissingFileError
    assert (error.errno, str(error)) == (errno.ENOENT, "[Errno 2] not there: '/tmp/x'")


async def test_exception_of_a_class_unknown_here_comes_with_its_name_text_and_traceback(cluster: Cluster) -> None:
    _, caller = await cluster.pair(Raiser)
    error = await raised(caller, "order")
    assert isinstance(error, RemoteCallError)
    assert error.type_name.endswith("test_exceptions.OrderError")
    assert error.message == "order 7: sold out"
    assert str(error) == f"{error.type_name}: order 7: sold out"
    assert "in on_raise" in (error.remote_traceback or "")


@pytest.mark.parametrize("what", ["value", "order", "caused"])
async def test_remote_traceback_can_be_read_in_what_python_prints(cluster: Cluster, what: str) -> None:
    _, caller = await cluster.pair(Raiser)
    error = await raised(caller, what)
    assert "Remote traceback, on node-1" in shown(error)
    assert "in on_raise" in shown(error)


async def test_remote_traceback_holds_the_cause(cluster: Cluster) -> None:
    _, caller = await cluster.pair(Raiser)
    error = await raised(caller, "caused")
    assert type(error) is ValueError
    assert "LookupError: the root of it" in shown(error)


@pytest.mark.parametrize(
    ("what", "cls", "text"),
    [
        ("unspeakable", RemoteCallError, "its text could not be made: ValueError"),
        ("surrogate", ValueError, "surrogate"),
        ("unsendable", ValueError, "<object object at"),
        ("stop_iteration", RuntimeError, "coroutine raised StopIteration"),
        ("cancelled", asyncio.CancelledError, ""),
    ],
)
async def test_exception_that_is_hard_to_carry_still_ends_its_call(
    cluster: Cluster, what: str, cls: type[BaseException], text: str
) -> None:
    _, caller = await cluster.pair(Raiser)
    error = await raised(caller, what)
    assert type(error) is cls
    assert text in str(error)


async def test_exception_of_an_agent_operation_reaches_who_asked(cluster: Cluster) -> None:
    _, caller = await cluster.pair(Raiser)
    with pytest.raises(OSError, match="the disk is gone") as failed:
        await within(caller.agent_save_state(agent("raiser")))
    assert failed.value.errno == errno.EIO


async def test_exception_of_a_factory_reaches_every_caller_and_the_next_call_tries_again(cluster: Cluster) -> None:
    made = 0

    def factory() -> Raiser:
        nonlocal made
        made += 1
        if made == 1:
            raise PermissionError("not yet")
        return Raiser()

    host = cluster.make()
    await Raiser.register(host, "raiser", factory)
    await within(host.start())
    caller = await cluster.host()
    assert isinstance(await raised(caller, "value"), PermissionError)
    assert isinstance(await raised(caller, "value"), ValueError)


@pytest.mark.parametrize(("what", "name"), [("exit", "SystemExit"), ("interrupt", "KeyboardInterrupt")])
async def test_exception_that_ends_programs_ends_neither_the_remote_one_nor_this_one(
    cluster: Cluster, launch: Launch, what: str, name: str
) -> None:
    caller = await cluster.host(discovery="mdns")
    member = await launch("member", cluster=cluster.name, agents=["exiting", "where"])
    await member.report("started")
    with pytest.raises(RemoteCallError, match=f"builtins.{name}"):
        await within(caller.send_message(Text(what), agent("exiting")))
    assert await within(caller.send_message(Text("?"), agent("where"))) == Number(member.pid)
    await member.stop()


async def test_exception_of_a_nested_call_passes_through_the_process_between(cluster: Cluster) -> None:
    class Relay(RoutedAgent):
        @message_handler
        async def on_raise(self, message: Raise, ctx: MessageContext) -> Text:
            answer: Text = await self.send_message(message, agent("raiser"))
            return answer

    await cluster.host(Raiser)
    middle = cluster.make()
    await Relay.register(middle, "relay", lambda: Relay("relays"))
    await within(middle.start())
    caller = await cluster.host()
    with pytest.raises(KeyError) as failed:
        await within(caller.send_message(Raise("key"), agent("relay")))
    assert "Remote traceback, on node-1" in shown(failed.value)
    assert "Remote traceback, on node-2" in shown(failed.value)
