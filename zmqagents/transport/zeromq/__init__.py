"""The transport over ZeroMQ: the only package that imports zmq.

**Promise.** What ``transport/base.py`` says, with every socket option set explicitly (``options.py``), nothing that
blocks the event loop, and two threads of our own: one that ends the context, and one at the door.

**How.** Plain pyzmq sockets, driven by their file descriptors (``reading.py``). Any call on a socket may swallow the
signal of its descriptor, so a wake-up reads until nothing is left, and every other call is followed by a look at
``EVENTS`` in the next turn of the loop. A wake-up works for a few milliseconds at most and goes on in the next turn, so
that a flood does not starve timers and other peers.

**Connections** are judged by socket monitors (``dialling.py``), because only the end of the ZMTP handshake is evidence
of life: the kernel accepts TCP connections for a stopped process. What the monitor cannot say, whether a dial failed
because nobody listens or because the way there is broken, a TCP connect of our own finds out (``refusal.py``).

**Keys.** With a cluster key every socket encrypts (CURVE, ``curve.py``), and ``door.py`` lets in those who have it.

**Rejected.** ``zmq.asyncio``: two futures and several callbacks for each message. Zero-copy sends: below about 1 MiB
they are slower than copying (64 KiB: 40 us against 9), and the first one starts a pyzmq thread that stays until the
process ends. ``recv`` with copying and ``RCVMORE``: asking for the option costs more than the frame that knows it.
Names instead of addresses: libzmq resolves them in its I/O thread, which answers no heartbeat while it waits.

**Known limits of libzmq.** A queue is bounded in messages, not bytes, and a message that never ends is kept until its
connection is. A part that takes longer than the heartbeat timeout to arrive ends its connection, because PONG waits
behind it. Two dialled paths to one peer: its ROUTER answers on the newer, and what is sent on the older is lost until
that one goes down; so a peer is dialled on one path at a time.
"""

from __future__ import annotations

from zmqagents.transport.zeromq.transport import ZeroMqTransport

__all__ = ["ZeroMqTransport"]
