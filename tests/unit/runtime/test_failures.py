"""Exceptions to the wire and back, also those that hostile bytes describe."""

from __future__ import annotations

import asyncio
import builtins
import json
import sys
from typing import Any

import autogen_core.exceptions
import pytest
from autogen_core.exceptions import CantHandleException, MessageDroppedException, UndeliverableException
from autogen_core.tool_agent import (
    InvalidToolArgumentsException,
    ToolException,
    ToolExecutionException,
    ToolNotFoundException,
)
from typing_extensions import Self

from zmqagents import errors
from zmqagents.errors import CallTimeoutError, MessageTooLargeError, PeerLost, RemoteCallError, SerializationError
from zmqagents.protocol.frames import Error, ErrorCode
from zmqagents.runtime.failures import (
    MAX_DETAIL_BYTES,
    MAX_TEXT_CHARS,
    ExceptionRegistry,
    from_wire,
    wire_text,
)

EXCEPTIONS = [
    value
    for module in (builtins, autogen_core.exceptions, errors)
    for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, BaseException)
]
ENDING = (KeyboardInterrupt, SystemExit, GeneratorExit)


class ShopError(Exception):
    """A user's own."""


class PickyError(Exception):
    """A user's own, which can't be made from what it keeps."""

    def __new__(cls, *args: Any) -> Self:
        if args:
            raise RuntimeError("not like this")
        return super().__new__(cls)


def there_and_back(error: BaseException, *registered: type[BaseException], max_bytes: int = MAX_DETAIL_BYTES) -> Any:
    """What an exception is on the other side."""
    frame = ExceptionRegistry().encode(7, ErrorCode.RAISED, error, max_bytes)
    assert frame.call_id == 7
    assert len(frame.payload) <= max_bytes
    return ExceptionRegistry(registered).decode(frame, "node-1")


def hostile(name: str, **detail: Any) -> BaseException:
    """What a registry makes of that name and that detail."""
    frame = Error(7, ErrorCode.RAISED, name, "text", json.dumps(detail).encode())
    return ExceptionRegistry().decode(frame, "mallory")


def made(cls: type[BaseException]) -> BaseException | None:
    """An instance without a text, where the class allows that."""
    try:
        return cls()
    except TypeError:
        return None


@pytest.mark.parametrize("cls", [cls for cls in EXCEPTIONS if made(cls) is not None], ids=lambda cls: cls.__name__)
def test_exception_without_a_text_keeps_its_class_unless_it_ends_programs(cls: type[BaseException]) -> None:
    error = there_and_back(cls())
    assert type(error) is (RemoteCallError if issubclass(cls, ENDING) else cls)


def test_users_exception_keeps_its_class_only_where_that_is_registered() -> None:
    assert type(there_and_back(ShopError("sold out"), ShopError)) is ShopError
    error = there_and_back(ShopError("sold out"))
    assert isinstance(error, RemoteCallError)
    assert (error.type_name.rpartition(".")[2], error.message, error.peer) == ("ShopError", "sold out", "node-1")


@pytest.mark.parametrize(
    "cls", [ToolException, InvalidToolArgumentsException, ToolExecutionException, ToolNotFoundException]
)
def test_exception_of_a_tool_agent_keeps_its_class(cls: type[ToolException]) -> None:
    error = there_and_back(cls("7", "which?", "tool"))

    assert type(error) is cls
    assert vars(error) == {"call_id": "7", "content": "which?", "name": "tool"}


def test_own_exception_keeps_its_figures() -> None:
    error = there_and_back(MessageTooLargeError(5, 3))
    assert type(error) is MessageTooLargeError
    assert (error.size_bytes, error.limit_bytes, str(error)) == (5, 3, str(MessageTooLargeError(5, 3)))


def test_class_that_refuses_to_be_made_again_comes_as_remote_call_error() -> None:
    error = PickyError()
    error.args = ("x",)
    assert isinstance(there_and_back(error, PickyError), RemoteCallError)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="ExceptionGroup is Python 3.11's")
def test_exception_group_comes_with_the_tracebacks_of_its_members() -> None:
    group: Any = vars(builtins)["ExceptionGroup"]
    error = there_and_back(group("several", [ValueError("one"), KeyError("two")]))
    assert isinstance(error, RemoteCallError)
    assert "ValueError: one" in (error.remote_traceback or "")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="notes are Python 3.11's")
def test_notes_are_kept() -> None:
    error: Any = ValueError("x")
    error.add_note("look here")
    assert "look here" in there_and_back(error).__notes__


def test_what_json_cannot_carry_of_the_attributes_is_left_out_and_the_rest_kept() -> None:
    error = ShopError("x")
    error.order, error.handle = 7, object()  # type: ignore[attr-defined]
    copy = there_and_back(error, ShopError)
    assert copy.order == 7
    assert not hasattr(copy, "handle")


@pytest.mark.parametrize("max_bytes", [10, 100, 1_000, 10_000])
@pytest.mark.parametrize("text", ["x" * 100_000, "ü\U0001f600" * 50_000], ids=["ascii", "wide"])
def test_detail_fits_the_limit_and_the_class_survives(text: str, max_bytes: int) -> None:
    error = there_and_back(ValueError(text), max_bytes=max_bytes)
    assert type(error) is ValueError
    assert str(error) == text[:MAX_TEXT_CHARS]


def test_end_of_a_long_traceback_is_kept() -> None:
    def dig(depth: int) -> None:
        if not depth:
            raise ValueError("at the bottom")
        dig(depth - 1)

    with pytest.raises(ValueError, match="bottom") as raised:
        dig(300)
    error = there_and_back(raised.value, max_bytes=20_000)
    assert "at the bottom" in str(error.__cause__)


# -- hostile ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["os.system", "subprocess.CalledProcessError", "builtins.eval", "builtins.int", "", "."]
)
def test_name_that_is_not_registered_is_a_text_and_nothing_more(name: str) -> None:
    loaded = set(sys.modules)
    error = hostile(name, args=["rm -rf /"])
    assert isinstance(error, RemoteCallError)
    assert error.type_name == name
    assert set(sys.modules) == loaded


@pytest.mark.parametrize("cls", ENDING)
def test_exception_that_would_end_this_program_is_not_raised(cls: type[BaseException]) -> None:
    assert isinstance(hostile(f"builtins.{cls.__name__}", args=[]), RemoteCallError)


@pytest.mark.parametrize(
    "detail",
    [
        {"args": "no list"},
        {"args": [{"base64": "not base64!"}]},
        {"args": [{"base64": 5}]},
        {"args": [[[[]]]], "attributes": [1]},
        {"attributes": {"__class__": "int", "__notes__": 5, "args": 7}},
        {"notes": "no list"},
        {"notes": [{"a": 1}]},
        {"traceback": 5},
    ],
)
@pytest.mark.parametrize("name", ["ValueError", "OSError", "UnicodeDecodeError", "ImportError", "KeyError"])
def test_detail_that_makes_no_sense_still_gives_an_exception(name: str, detail: dict[str, Any]) -> None:
    error = hostile(f"builtins.{name}", **detail)
    assert isinstance(error, Exception)
    assert isinstance(str(error), str)


@pytest.mark.parametrize("payload", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_detail_that_is_no_json_object_still_gives_an_exception(payload: bytes) -> None:
    error = ExceptionRegistry().decode(Error(7, ErrorCode.RAISED, "builtins.ValueError", "text", payload), "mallory")
    assert (type(error), str(error)) == (ValueError, "text")


# -- the other ends of a call ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "cls", "text"),
    [
        (
            ErrorCode.UNDELIVERABLE,
            UndeliverableException,
            "worker/a could not be reached: node-1 does not host it. why",
        ),
        (ErrorCode.CANCELLED, asyncio.CancelledError, "why"),
        (ErrorCode.DEADLINE, CallTimeoutError, "worker/a was reached after the call's deadline"),
        (ErrorCode.DROPPED, MessageDroppedException, "why"),
        (ErrorCode.UNREADABLE, SerializationError, "why (on node-1)"),
        (ErrorCode.UNSERIALIZABLE, SerializationError, "why (on node-1)"),
        (99, RemoteCallError, "why"),
    ],
)
def test_code_of_an_error_frame_says_what_the_call_ends_with(code: int, cls: type[BaseException], text: str) -> None:
    error = from_wire(ExceptionRegistry(), Error(7, code, "", "why", b""), "worker/a", "node-1")
    assert type(error) is cls
    assert text in str(error)


def test_remote_exceptions_of_the_delivery_itself_keep_their_class() -> None:
    assert type(there_and_back(PeerLost("gone"))) is PeerLost
    assert type(there_and_back(CantHandleException("not me"))) is CantHandleException


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ("plain", "plain"),
        (ValueError("x"), "x"),
        ("lone \ud800", r"lone \ud800"),
        ("x" * 10_000, "x" * MAX_TEXT_CHARS),
    ],
)
def test_text_for_the_wire_is_bounded_and_can_be_encoded(subject: object, text: str) -> None:
    assert wire_text(subject) == text
    wire_text(subject).encode()
