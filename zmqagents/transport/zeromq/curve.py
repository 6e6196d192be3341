"""The CURVE keys of sockets (SPEC.md section 11).

All nodes of a cluster have one key pair: a server's key admits nobody by itself, and a client needs to know it, so both
ends use the same one, and ``door.py`` admits no other. While keys are being changed there are two pairs. A bound socket
has one key only, so it has the first; a dial is made with the first too and, where that isn't taken, with the other.
"""

from __future__ import annotations

import zmq
from zmq.utils import z85

from zmqagents.transport.base import TransportOptions

OVERHEAD_BYTES = 33
"""What CURVE adds to a part: the command's name (8), a short nonce (8), a tag (16) and flags (1); ZMTP 3.1 CurveZMQ."""

# Any name will do: without one libzmq asks nobody who may come in.
_DOMAIN = b"zmqagents"


class KeyPair:
    """One key pair, as libzmq wants it: Z85 texts. It shows nothing of itself."""

    __slots__ = ("public", "secret")

    def __init__(self, secret: bytes) -> None:
        """``secret`` has 32 bytes."""
        self.secret = z85.encode(secret)
        self.public = zmq.curve_public(self.secret)

    @property
    def public_bytes(self) -> bytes:
        """The public key as ZAP has it."""
        return z85.decode(self.public)


def key_pairs(options: TransportOptions) -> tuple[KeyPair, ...]:
    """The pair to bind with, and then the others that are taken; none without a cluster key."""
    return tuple(KeyPair(secret) for secret in options.curve_secrets)


def lock_bound(socket: zmq.Socket[bytes], pair: KeyPair) -> None:
    """From now on the socket lets in only whom the door admits; without a door, nobody."""
    socket.set(zmq.CURVE_SERVER, 1)
    socket.set(zmq.CURVE_PUBLICKEY, pair.public)
    socket.set(zmq.CURVE_SECRETKEY, pair.secret)
    socket.set(zmq.ZAP_DOMAIN, _DOMAIN)
    socket.set(zmq.ZAP_ENFORCE_DOMAIN, 1)


def lock_dialled(socket: zmq.Socket[bytes], pair: KeyPair) -> None:
    """The next connect uses this pair; connections that are there keep theirs."""
    socket.set(zmq.CURVE_SERVER, 0)
    socket.set(zmq.CURVE_SERVERKEY, pair.public)
    socket.set(zmq.CURVE_PUBLICKEY, pair.public)
    socket.set(zmq.CURVE_SECRETKEY, pair.secret)
