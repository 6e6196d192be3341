"""The exceptions: what they can be caught as, and what they say."""

from __future__ import annotations

import inspect
import re

import pytest

from zmqagents import errors
from zmqagents.errors import (
    BackpressureError,
    CallTimeoutError,
    ConfigError,
    DeliveryError,
    ForkedProcessError,
    MessageTooLargeError,
    PeerLost,
    RemoteCallError,
    RemoteProtocolError,
    RuntimeNotStartedError,
    SerializationError,
    WireCode,
    ZmqAgentsError,
)

CLASSES = [
    value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)
]  # fmt: skip


def test_everything_is_caught_as_zmqagents_error() -> None:
    assert all(issubclass(cls, ZmqAgentsError) for cls in CLASSES)


def test_tree_in_the_docstring_names_every_class() -> None:
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__ or ""))
    assert drawn == {cls.__name__ for cls in CLASSES}


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (ConfigError, ValueError),
        (SerializationError, ValueError),
        (MessageTooLargeError, ValueError),
        (RuntimeNotStartedError, RuntimeError),
        (ForkedProcessError, RuntimeError),
        (CallTimeoutError, TimeoutError),
    ],
)
def test_error_is_caught_as_the_builtin_that_a_program_expects(cls: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(cls, builtin)
    assert builtin.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize("cls", [PeerLost, CallTimeoutError, BackpressureError, RemoteCallError])
def test_what_a_message_ends_with_is_a_delivery_error(cls: type[Exception]) -> None:
    assert issubclass(cls, DeliveryError)


def test_too_large_gives_both_figures_as_text_and_as_numbers() -> None:
    error = MessageTooLargeError(134_217_729, 134_217_728)
    assert "134,217,729 bytes, over the limit of 134,217,728 bytes" in str(error)
    assert (error.size_bytes, error.limit_bytes) == (134_217_729, 134_217_728)


@pytest.mark.parametrize(("message", "text"), [("sold out", "shop.OrderError: sold out"), ("", "shop.OrderError")])
def test_remote_call_error_is_read_as_the_exception_would_be(message: str, text: str) -> None:
    error = RemoteCallError("shop.OrderError", message, remote_traceback="Traceback ...", peer="node-1")
    assert str(error) == text
    assert (error.type_name, error.message, error.peer) == ("shop.OrderError", message, "node-1")
    assert error.remote_traceback == "Traceback ..."


def test_protocol_error_names_its_wire_code() -> None:
    assert str(RemoteProtocolError(WireCode.BAD_FIELD, "no id")) == "BAD_FIELD: no id"
