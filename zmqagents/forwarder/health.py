"""``GET /healthz`` and ``GET /metrics``, for probes and for Prometheus: HTTP/1.1, one request a connection.

asyncio's streams and nothing else: a web framework would be larger than the forwarder. What a client can make it keep
is bounded: 64 connections, 8 KiB and 5 s each. It serves no secrets, and has no key; it listens where it is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from zmqagents._version import __version__
from zmqagents.errors import ConfigError
from zmqagents.forwarder.metrics import exposition

if TYPE_CHECKING:
    from zmqagents.forwarder.service import Forwarder

_REQUEST_BYTES = 8_192  # what web servers commonly take
_REQUEST_S = 5.0
_MAX_CONNECTIONS = 64
_PATHS = ("/healthz", "/metrics")
_METHODS = ("GET", "HEAD")

_JSON = "application/json"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"


class HealthServer:
    """Serves the state of a forwarder."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self.address = ""

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises ConfigError if that isn't possible."""
        try:
            self._server = await asyncio.start_server(self._connected, host, port, limit=_REQUEST_BYTES)
        except OSError as error:
            raise ConfigError(
                f"--health {host}:{port}: can't listen there: {error.strerror}; take another one"
            ) from None
        name = self._server.sockets[0].getsockname()
        self.address = f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"

    async def close(self) -> None:
        """End, with the requests that are being served."""
        if self._server is not None:
            self._server.close()
            for task in self._serving:
                task.cancel()
            await asyncio.gather(*self._serving, return_exceptions=True)
            await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._serving) >= _MAX_CONNECTIONS:
            writer.close()
            return
        self._serving.add(task)
        try:
            with contextlib.suppress(asyncio.TimeoutError, OSError):  # it hangs, or has hung up: nobody to be told
                await asyncio.wait_for(self._serve(reader, writer), _REQUEST_S)
        finally:
            self._serving.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return
        except asyncio.LimitOverrunError:
            head = b""
        method, status, kind, body = self._answer(head)
        lines = [
            f"HTTP/1.1 {status.value} {status.phrase}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
            "Connection: close",
            *(["Allow: GET, HEAD"] if status is HTTPStatus.METHOD_NOT_ALLOWED else []),
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode("ascii") + (b"" if method == "HEAD" else body))
        await writer.drain()

    def _answer(self, head: bytes) -> tuple[str, HTTPStatus, str, bytes]:
        """Method, status, content type and body."""
        line = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if not head:
            return "", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _TEXT, b"the request is too large\n"
        if len(line) != 3 or not line[2].startswith("HTTP/1."):
            return "", HTTPStatus.BAD_REQUEST, _TEXT, b"not an HTTP/1.1 request\n"
        method, path = line[0], line[1].partition("?")[0]
        if path not in _PATHS:
            return method, HTTPStatus.NOT_FOUND, _TEXT, b"there are /healthz and /metrics\n"
        if method not in _METHODS:
            return method, HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, b"GET or HEAD only\n"
        if path == "/metrics":
            return method, HTTPStatus.OK, _METRICS, exposition(self._forwarder).encode()
        return (method, *self._health())

    def _health(self) -> tuple[HTTPStatus, str, bytes]:
        relay = self._forwarder.relay
        working = relay is not None and not relay.draining
        state = {
            "status": "ok" if working else "draining",
            "attached": len(relay.attached) if relay is not None else 0,
            "uptime_s": round(self._forwarder.uptime_s, 3),
            "version": __version__,
        }
        return HTTPStatus.OK if working else HTTPStatus.SERVICE_UNAVAILABLE, _JSON, json.dumps(state).encode() + b"\n"
