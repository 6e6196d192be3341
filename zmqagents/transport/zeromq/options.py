"""Every option of every socket, set before it binds or connects. Nothing is left at libzmq's default."""

from __future__ import annotations

import zmq

from zmqagents.protocol.codec import GOSSIP_PREFIX
from zmqagents.protocol.ids import NodeId
from zmqagents.transport.base import TransportOptions
from zmqagents.transport.zeromq.curve import OVERHEAD_BYTES, KeyPair, lock_bound, lock_dialled

_MAX_SOCKETS = 32_768  # three (DEALER, both ends of its monitor) for each of the 8,192 nodes of a table, and some

# After this long a connection attempt, or a handshake that a silent peer leaves half done, starts anew: twice within
# the 5 s after which SPEC.md section 6.4 calls a peer dead, and long enough for CURVE over a slow line.
_CONNECT_MS = 2_000
HANDSHAKE_MS = 2_000

_BACKLOG = 1_024  # a whole cluster dials a node that has just come back; the kernel cuts this to its own limit

# The kernel's probes end what ZMTP heartbeats can't: a connection whose handshake is done but whose peer sends none.
_KEEPALIVE_IDLE_S = 10
_KEEPALIVE_INTERVAL_S = 5
_KEEPALIVE_PROBES = 3

_TTL_UNIT_MS = 100  # ZMTP 3.1 counts in tenths of a second; what is less would be no TTL at all

# All that a PUB reads is the handshake and subscriptions, of which ours is 11 bytes.
_PUB_MAX_BYTES = 4_096


def make_context() -> zmq.Context[zmq.Socket[bytes]]:
    """A context of our own: one I/O thread moves several GB/s, more than Python can make or read."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
    context.set(zmq.MAX_SOCKETS, min(_MAX_SOCKETS, context.get(zmq.SOCKET_LIMIT)))
    context.set(zmq.BLOCKY, 0)
    return context


def prepare(
    socket: zmq.Socket[bytes], node_id: NodeId, options: TransportOptions, pairs: tuple[KeyPair, ...] = ()
) -> None:
    """Apply ``options``, and ``pairs`` made of its keys, to a socket that has not been bound or connected yet."""
    kind = get_int(socket, zmq.TYPE)
    overhead = OVERHEAD_BYTES if pairs else 0
    gossip = kind in {zmq.PUB, zmq.SUB}
    queue = options.gossip_queue_messages if gossip else options.queue_messages
    for option, value in (
        (zmq.SNDHWM, queue),
        (zmq.RCVHWM, queue),
        (zmq.LINGER, 0 if kind == zmq.SUB else options.linger_ms),  # a SUB has only its subscription to send
        # With 1, libzmq throws away what has arrived but not been read when the peer goes: the last answers of a peer
        # that leaves. What 1 is for, no queue to a peer that isn't there, ZeroMqTransport.send sees to.
        (zmq.IMMEDIATE, 0),
        (zmq.MAXMSGSIZE, overhead + (_PUB_MAX_BYTES if kind == zmq.PUB else options.max_part_bytes)),
        *_heartbeats(kind, options),
        (zmq.RECONNECT_IVL, options.reconnect_ms),
        (zmq.RECONNECT_IVL_MAX, options.reconnect_max_ms),
        (zmq.CONNECT_TIMEOUT, _CONNECT_MS),
        (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
        (zmq.BACKLOG, _BACKLOG),
        (zmq.TCP_KEEPALIVE, 1),
        (zmq.TCP_KEEPALIVE_IDLE, _KEEPALIVE_IDLE_S),
        (zmq.TCP_KEEPALIVE_INTVL, _KEEPALIVE_INTERVAL_S),
        (zmq.TCP_KEEPALIVE_CNT, _KEEPALIVE_PROBES),
        (zmq.IPV6, 0),  # see use_family
    ):
        socket.set(option, value)
    if pairs:
        (lock_bound if kind in {zmq.ROUTER, zmq.PUB} else lock_dialled)(socket, pairs[0])
    if kind == zmq.ROUTER:
        socket.set(zmq.ROUTER_MANDATORY, 1)  # an unknown peer is refused, not dropped
        socket.set(zmq.ROUTER_HANDOVER, 1)  # a peer that comes back takes its routing id from its dead connection
    elif kind == zmq.DEALER:
        socket.set(zmq.ROUTING_ID, node_id)
        socket.set(zmq.PROBE_ROUTER, 0)
    elif kind == zmq.SUB:
        socket.set(zmq.SUBSCRIBE, GOSSIP_PREFIX)


def _heartbeats(kind: int, options: TransportOptions) -> list[tuple[int, int]]:
    """PINGs, except from a PUB: the TTL of the SUB's ends that connection, at half the price of PINGs both ways.

    libzmq forgets a TTL with whatever comes, until the next PING. A SUB has nothing else to send; but a peer that is
    cut off right after a message would never be missed at a ROUTER that goes by the TTL alone.
    """
    silence_ms = options.zmtp_heartbeat_ms + options.zmtp_timeout_ms
    return [
        (zmq.HEARTBEAT_IVL, 0 if kind == zmq.PUB else options.zmtp_heartbeat_ms),
        (zmq.HEARTBEAT_TIMEOUT, options.zmtp_timeout_ms),
        (zmq.HEARTBEAT_TTL, -(-silence_ms // _TTL_UNIT_MS) * _TTL_UNIT_MS),
    ]


def get_int(socket: zmq.Socket[bytes], option: int) -> int:
    """The value of an option that is a number."""
    value = socket.get(option)
    if not isinstance(value, int):
        raise TypeError(f"socket option {option} is not a number")
    return value


def use_family(socket: zmq.Socket[bytes], *, ipv6: bool) -> None:
    """Choose the address family of the next bind or connect.

    An IPv6 socket dials IPv4 addresses too, but then names them ``[::ffff:127.0.0.1]`` in its monitor's events.
    """
    socket.set(zmq.IPV6, int(ipv6))


def make_monitor(socket: zmq.Socket[bytes], events: int) -> zmq.Socket[bytes]:
    """A PAIR on which ``events`` of ``socket`` arrive. End it with ``close_monitor``."""
    address = f"inproc://monitor-{get_int(socket, zmq.FD)}"
    socket.monitor(address, events)
    pair: zmq.Socket[bytes] = socket.context.socket(zmq.PAIR)
    # libzmq's I/O thread waits for room here, and with it every connection of the node and its heartbeats, while the
    # program is busy. So no limit; what comes is bounded by the reconnect interval, a hundred small events a second.
    pair.set(zmq.RCVHWM, 0)
    pair.set(zmq.LINGER, 0)
    pair.connect(address)
    return pair


def close_monitor(socket: zmq.Socket[bytes], pair: zmq.Socket[bytes]) -> None:
    """End the monitor of a socket that is still open."""
    socket.monitor(None, 0)
    pair.close()
