"""Binding of ROUTER and PUB to the addresses that a node listens on."""

from __future__ import annotations

import errno

import zmq

from zmqagents.errors import ConfigError
from zmqagents.transport.endpoints import format_endpoint, parse_address
from zmqagents.transport.zeromq.options import use_family

_MAX_PORT = 65_535


def listen(socket: zmq.Socket[bytes], addresses: tuple[str, ...], port: int, *, setting: str) -> tuple[str, ...]:
    """Bind ``socket`` to every address and return its endpoints.

    A free port (``port`` 0) is the same on all addresses where that is possible. Raises ConfigError, which names
    ``setting`` and says what to change.
    """
    if not addresses:
        raise ConfigError('listen is empty; write at least one address, such as "127.0.0.1"')
    if not 0 <= port <= _MAX_PORT:
        raise ConfigError(f"{setting} is {port}; write a port up to {_MAX_PORT:,}, or 0 for a free one")
    endpoints: list[str] = []
    chosen = port
    for address in addresses:
        endpoint = _bind(socket, address, chosen, setting, or_free=port == 0)
        endpoints.append(endpoint)
        chosen = chosen or int(endpoint.rpartition(":")[2])
    return tuple(endpoints)


def _bind(socket: zmq.Socket[bytes], text: str, port: int, setting: str, *, or_free: bool) -> str:
    try:
        address = parse_address(text, wildcard=True)
    except ValueError as error:
        raise ConfigError(f"listen: {error}; write an address of this machine, such as 127.0.0.1 or ::1") from None
    use_family(socket, ipv6=address.version == 6)
    try:
        socket.bind(format_endpoint(address, port))
    except zmq.ZMQError as error:
        if or_free and port and error.errno == errno.EADDRINUSE:
            return _bind(socket, text, 0, setting, or_free=False)
        raise ConfigError(_explain(error, text, port, setting)) from error
    return bytes(socket.get(zmq.LAST_ENDPOINT)).decode("ascii")


def _explain(error: zmq.ZMQError, address: str, port: int, setting: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {address} is taken; give {setting} another value, or 0 for a free port"
    if error.errno in {errno.EADDRNOTAVAIL, errno.ENODEV, errno.EAFNOSUPPORT}:
        return f"{address} is not an address of this machine; put one of its own into listen, such as 127.0.0.1"
    if error.errno == errno.EACCES:
        return f"port {port} of {address} needs privileges; give {setting} a value from 1,024 on, or 0 for a free port"
    return f"can't listen on port {port} of {address}: {error.strerror}; change listen or {setting}"
