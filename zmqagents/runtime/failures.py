"""Exceptions to the wire and back (SPEC.md section 8.3), and the exceptions that calls end with.

An exception is raised again under its own class only if that class is registered here: Python's own, AutoGen's, and
those the user names. The name on the wire is a key of that table and nothing more; nothing is imported by it.
"""

from __future__ import annotations

import asyncio
import base64
import builtins
import json
import sys
import traceback
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import autogen_core.exceptions
from autogen_core.exceptions import MessageDroppedException, UndeliverableException

from zmqagents import errors
from zmqagents.errors import CallTimeoutError, PeerLost, RemoteCallError, SerializationError
from zmqagents.protocol.frames import Error, ErrorCode

MAX_TEXT_CHARS = 4_000  # of the text in the ERROR frame; the whole text is in the detail's args
MAX_TRACEBACK_CHARS = 64_000  # the end of it, where the error is: a deep recursion prints a thousand frames
MAX_DETAIL_BYTES = 1 << 20  # an error is for reading; data belongs into messages

_BYTES_OF_CHAR = 12  # that JSON needs at most: a pair of escaped surrogates
_BASE64 = "base64"  # SPEC.md section 8.3: the key of an object that stands for bytes

_TOOLS = "autogen_core.tool_agent."
"""How the names of the exceptions of AutoGen's tool agents begin."""

_NEVER = (KeyboardInterrupt, SystemExit, GeneratorExit)
"""Raised here, these would end the caller's process: they come as RemoteCallError."""


class AgentNotFound(UndeliverableException, LookupError):  # noqa: N818 - a kind of AutoGen's UndeliverableException
    """Nobody hosts the agent's type. A LookupError too, as AutoGen's own runtime raises for that."""


class ExceptionRegistry:
    """The exception classes that cross the wire under their own name."""

    def __init__(self, classes: Iterable[type[BaseException]] = ()) -> None:
        self._classes: dict[str, type[BaseException]] = {}
        self._knows_tools = False
        for source in (builtins, autogen_core.exceptions, errors):
            self._add_all_of(source)
        self.add(asyncio.CancelledError)
        self.add(asyncio.TimeoutError)
        for cls in classes:
            self.add(cls)

    def add(self, cls: type[BaseException]) -> None:
        """Let ``cls`` cross the wire."""
        self._classes[_name_of(cls)] = cls

    def _add_all_of(self, module: ModuleType) -> None:
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, BaseException) and not issubclass(value, _NEVER):
                self.add(value)

    def _add_tools(self) -> None:
        """Once one of them comes: with them come AutoGen's tools and an HTTP client, 6 MiB and 0.1 s of every start."""
        import autogen_core.tool_agent  # noqa: PLC0415 - as the docstring says

        self._knows_tools = True
        self._add_all_of(autogen_core.tool_agent)

    def encode(self, call_id: int, code: ErrorCode, error: BaseException, max_bytes: int = MAX_DETAIL_BYTES) -> Error:
        """The ERROR frame that ends a call with ``error``; its payload has at most ``max_bytes``."""
        detail: dict[str, Any] = {"traceback": _traceback_of(error)[-MAX_TRACEBACK_CHARS:]}
        args = [_to_json(argument) for argument in _args_of(error)]
        if all(map(_is_json, args)):
            detail["args"] = args
        detail["attributes"] = {name: value for name, value in _attributes_of(error).items() if _is_json(value)}
        detail["notes"] = [str(note) for note in getattr(error, "__notes__", ())]
        payload = _fitting(detail, min(max_bytes, MAX_DETAIL_BYTES))
        return Error(call_id, code, _name_of(type(error)), wire_text(error), payload)

    def decode(self, frame: Error, peer: str) -> BaseException:
        """The exception to raise for an ERROR frame of ``peer``."""
        detail = _read_detail(frame.payload)
        trace = detail.get("traceback")
        remote_traceback = trace if isinstance(trace, str) else None
        error = self._rebuild(frame, detail)
        if error is None:
            error = RemoteCallError(frame.exception, frame.text, remote_traceback=remote_traceback, peer=peer)
        notes = detail.get("notes")
        for note in notes if isinstance(notes, list) else ():
            _add_note(error, str(note))
        if remote_traceback:
            _attach(error, f"Remote traceback, on {peer}:\n{remote_traceback}")
        return error

    def _rebuild(self, frame: Error, detail: dict[str, Any]) -> BaseException | None:
        if frame.exception.startswith(_TOOLS) and not self._knows_tools:
            self._add_tools()
        cls = self._classes.get(frame.exception)
        if cls is None:
            return None
        args = detail.get("args")
        values = [_from_json(value) for value in args] if isinstance(args, list) else [frame.text]
        attributes = detail.get("attributes")
        try:
            # Not cls(*values): a class may ask for other arguments than those it keeps. Python's own classes ask for
            # just those, and some of them (OSError, UnicodeError, SyntaxError) have no text without their __init__.
            error: BaseException = cls.__new__(cls, *values)
            builtin = next(base for base in cls.__mro__ if base.__module__ == "builtins")
            builtin.__init__(error, *values)  # type: ignore[misc]  # ``error`` is one of it
        except Exception:  # noqa: BLE001 - a class may refuse in any way; the call still ends, with another class
            return None
        if isinstance(attributes, dict) and hasattr(error, "__dict__"):
            vars(error).update({name: value for name, value in attributes.items() if not name.startswith("__")})
        return error


def undeliverable(frame: Error, agent: str, peer: str) -> UndeliverableException:
    """For an ERROR that says that the agent is not there."""
    return UndeliverableException(f"{agent} could not be reached: {peer} does not host it. {frame.text}".rstrip())


def peer_lost(agent: str, peer: str) -> PeerLost:
    """For a call whose target went away."""
    return PeerLost(
        f"the process {peer} went away while it was handling a call to {agent}: whether the handler ran is unknown."
        " Send again if that does no harm.",
        peer=peer,
    )


def timed_out(agent: str, timeout_s: float) -> CallTimeoutError:
    """For a call whose deadline passed."""
    return CallTimeoutError(f"{agent} did not answer within {timeout_s:g} s; its handler has been told to stop")


def from_wire(registry: ExceptionRegistry, frame: Error, agent: str, peer: str) -> BaseException:
    """The exception with which a call to ``agent`` ends."""
    if frame.code == ErrorCode.UNDELIVERABLE:
        return undeliverable(frame, agent, peer)
    if frame.code == ErrorCode.CANCELLED:
        return asyncio.CancelledError(frame.text) if frame.text else asyncio.CancelledError()
    if frame.code == ErrorCode.DEADLINE:
        return CallTimeoutError(
            f"{agent} was reached after the call's deadline; its handler was not started", peer=peer
        )
    if frame.code == ErrorCode.DROPPED:
        return MessageDroppedException(*([frame.text] if frame.text else []))
    if frame.code in (ErrorCode.UNREADABLE, ErrorCode.UNSERIALIZABLE):
        return SerializationError(f"{frame.text} (on {peer})")
    return registry.decode(frame, peer)


def _name_of(cls: type[BaseException]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def wire_text(subject: object) -> str:
    """The text of an exception, or a text itself, as it may stand in an ERROR frame."""
    try:
        text = str(subject)
    except Exception as failure:  # noqa: BLE001 - a user's __str__ may raise anything; the call must still end
        text = f"(its text could not be made: {type(failure).__name__})"
    return text[:MAX_TEXT_CHARS].encode("utf-8", "backslashreplace").decode()


def _traceback_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def _args_of(error: BaseException) -> tuple[Any, ...]:
    """What the class was made with; OSError keeps file names beside ``args``, and gives them when it is pickled."""
    if isinstance(error, OSError):
        reduced = OSError.__reduce__(error)
        if isinstance(reduced, tuple) and isinstance(reduced[1], tuple):
            return reduced[1]
    return error.args


def _attributes_of(error: BaseException) -> dict[str, Any]:
    return {name: value for name, value in vars(error).items() if not name.startswith("__")}


def _to_json(value: Any) -> Any:
    return {_BASE64: base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _from_json(value: Any) -> Any:
    if not isinstance(value, dict) or list(value) != [_BASE64]:
        return value
    try:
        return base64.b64decode(value[_BASE64], validate=True)
    except (TypeError, ValueError):
        return value


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _fitting(detail: dict[str, Any], max_bytes: int) -> bytes:
    """The detail as JSON, without what makes it too large; the end of the traceback is the last to go."""
    for name in ("notes", "attributes", "args"):
        payload = json.dumps(detail).encode()
        if len(payload) <= max_bytes:
            return payload
        detail.pop(name, None)
    detail["traceback"] = detail["traceback"][-max(max_bytes // _BYTES_OF_CHAR - 2, 1) :]
    payload = json.dumps(detail).encode()
    return payload if len(payload) <= max_bytes else b""


def _read_detail(payload: bytes) -> dict[str, Any]:
    try:
        detail = json.loads(payload) if payload else {}
    except (ValueError, RecursionError):
        return {}
    return detail if isinstance(detail, dict) else {}


class RemoteTraceback(Exception):  # noqa: N818 - not an error of its own: the cause of one
    """Where an exception was raised in another process; it is the ``__cause__`` of the exception raised here."""


def _attach(error: BaseException, text: str) -> None:
    """A note of our own exception; the cause of anybody else's, whose text and notes stay as they were raised."""
    if isinstance(error, RemoteCallError):
        _add_note(error, text)
    else:
        error.__cause__ = RemoteTraceback("\n" + text)


def _add_note(error: BaseException, note: str) -> None:
    """``BaseException.add_note`` is Python 3.11's; before it, the attribute that it sets is set by hand."""
    if sys.version_info >= (3, 11):
        error.add_note(note)
    else:
        vars(error)["__notes__"] = [*getattr(error, "__notes__", ()), note]
