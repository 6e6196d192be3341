"""Hypothesis strategies for what the protocol sends: frames, envelopes, gossip, records, and bytes that went wrong."""

from __future__ import annotations

from typing import Any

import cbor2
import msgpack
from hypothesis import strategies as st

from zmqagents.protocol import bounds, codec
from zmqagents.protocol import frames as f
from zmqagents.protocol.ids import ANYONE, NodeId
from zmqagents.protocol.records import HostedType, Phase, Record, SubscriptionEntry, SubscriptionKind

# The edges of msgpack's and CBOR's forms of a number are drawn more often than chance would.
uints = st.one_of(
    st.integers(0, bounds.MAX_UINT),
    st.sampled_from([0, 23, 24, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, bounds.MAX_UINT]),
)
texts = st.text(max_size=40)
payloads = st.binary(max_size=100)
node_ids: st.SearchStrategy[NodeId] = st.binary(min_size=16, max_size=16).filter(lambda value: value[0] != 0)
agent_types = st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1, max_size=20)
agent_ids = st.builds("{}/{}".format, agent_types, texts)
contexts: st.SearchStrategy[f.Context] = st.none() | st.dictionaries(texts, texts, max_size=4)

_senders = st.none() | agent_ids
_timeouts = st.none() | uints
_features = st.lists(texts, max_size=4)
_versions = st.lists(st.tuples(node_ids, uints, st.booleans()).map(list), max_size=4)
_deaths = st.lists(st.tuples(node_ids, uints).map(list), max_size=4)
_nodes = st.lists(node_ids, max_size=4)
_pushed = st.lists(payloads, max_size=3).map(codec.pack_records)

control_kinds: dict[type[Any], st.SearchStrategy[Any]] = {
    f.Hello: st.builds(f.Hello, uints, uints, _features, texts, uints, payloads),
    f.Welcome: st.builds(f.Welcome, uints, _features, texts, uints, payloads),
    f.Ack: st.builds(f.Ack, st.booleans()),
    f.Ping: st.builds(f.Ping, uints, uints),
    f.Pong: st.builds(f.Pong, uints),
    f.Bye: st.builds(f.Bye, uints, texts),
    f.SyncPull: st.builds(f.SyncPull, uints, _versions),
    f.SyncPush: st.builds(f.SyncPush, uints, st.booleans(), _deaths, _pushed),
    f.Probe: st.builds(f.Probe, uints, node_ids),
    f.Probed: st.builds(f.Probed, uints, node_ids, st.booleans()),
    f.Attach: st.builds(f.Attach, uints, uints, texts, uints),
    f.Roster: st.builds(f.Roster, uints, st.booleans(), st.booleans(), _nodes, _nodes),
    f.Listen: st.builds(f.Listen, st.booleans(), _nodes, _nodes),
    f.Seek: st.builds(f.Seek, node_ids, node_ids),
}
data_kinds: dict[type[Any], st.SearchStrategy[Any]] = {
    f.Request: st.builds(
        f.Request, uints, agent_ids, texts, _senders, texts, texts, _timeouts, uints, contexts, payloads
    ),
    f.Reply: st.builds(f.Reply, uints, texts, texts, payloads),
    f.Error: st.builds(f.Error, uints, uints, texts, texts, payloads),
    f.Cancel: st.builds(f.Cancel, uints),
    f.Event: st.builds(
        f.Event,
        texts,
        texts,
        texts,
        _senders,
        st.lists(agent_ids, min_size=1, max_size=4),
        texts,
        texts,
        uints,
        contexts,
        payloads,
    ),
    f.EventDone: st.builds(f.EventDone, st.lists(uints, max_size=6)),
    f.Agent: st.builds(f.Agent, uints, uints, st.just("") | agent_ids, _timeouts, payloads),
    f.Census: st.builds(f.Census, uints, agent_types, st.binary(min_size=8, max_size=8)),
    f.Claim: st.builds(f.Claim, uints, st.booleans(), st.lists(agent_ids, max_size=4)),
    f.Rival: st.builds(f.Rival, agent_ids, node_ids),
    f.Yield: st.builds(f.Yield, agent_ids),
    f.Disclaim: st.builds(f.Disclaim, agent_ids),
    f.Moved: st.builds(f.Moved, agent_ids, node_ids),
}
control_frames: st.SearchStrategy[f.ControlFrame] = st.one_of(*control_kinds.values())
data_frames: st.SearchStrategy[f.DataFrame] = st.one_of(*data_kinds.values())


def envelopes_of(frames: st.SearchStrategy[Any], *, data: bool) -> st.SearchStrategy[f.Envelope]:
    """Envelopes of one to six such frames."""
    numbers = st.integers(1, bounds.MAX_UINT) if data else st.just(0)
    sessions = st.integers(1, bounds.MAX_UINT) if data else uints
    batches = st.lists(frames, min_size=1, max_size=6)
    return st.builds(f.Envelope, node_ids, node_ids, sessions, numbers, uints, uints, batches)


_to_anyone = st.one_of(*(control_kinds[kind] for kind in (f.Ping, f.Attach, f.Listen, f.Bye)))
_greetings = st.builds(
    f.Envelope, node_ids, st.just(ANYONE), uints, st.just(0), uints, uints, st.lists(_to_anyone, min_size=1)
)
envelopes: st.SearchStrategy[f.Envelope] = st.one_of(
    envelopes_of(control_frames, data=False), envelopes_of(data_frames, data=True), _greetings
)
gossip: st.SearchStrategy[codec.Gossip] = st.one_of(
    st.builds(codec.Heartbeat, node_ids, uints, uints, st.binary(min_size=8, max_size=8), uints),
    st.builds(codec.Delta, node_ids, st.lists(payloads, max_size=4), _deaths),
)

_labels = st.text(max_size=60)  # at most 4 bytes a character, 255 bytes in all
_endpoints = st.lists(texts, max_size=4).map(tuple)
_content_types = st.lists(texts, max_size=3).map(tuple)
_idempotent = st.frozensets(texts, max_size=3)
subscription_entries = st.one_of(
    st.builds(SubscriptionEntry, st.sampled_from(SubscriptionKind), texts, agent_types),
    st.just(SubscriptionEntry(SubscriptionKind.OPAQUE, "", "")),
)
records: st.SearchStrategy[Record] = st.builds(
    Record,
    node_id=node_ids,
    version=st.integers(1, bounds.MAX_UINT),
    phase=st.sampled_from(Phase),
    instance_id=_labels,
    cluster=_labels,
    endpoints=_endpoints,
    gossip_endpoints=_endpoints,
    protocol=st.tuples(uints, uints).map(lambda pair: (min(pair), max(pair))),
    types=st.dictionaries(agent_types, st.builds(HostedType, texts, uints, _idempotent), max_size=5),
    pinned=st.frozensets(agent_ids, max_size=5),
    subscriptions=st.dictionaries(texts, subscription_entries, max_size=5),
    readable=st.dictionaries(texts, _content_types, max_size=5),
    load=uints,
    max_payload_bytes=uints,
    started_ms=uints,
)

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    texts,
    st.binary(max_size=20),
)
_ext_types = st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=4))
msgpack_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=3) | _ext_types,
    max_leaves=12,
)
"""Anything that msgpack can hold."""

_cbor_keys = texts | uints | st.binary(max_size=4) | st.booleans() | st.floats()
_tagged = st.builds(cbor2.CBORTag, uints, st.integers(0, 5) | texts)
cbor_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_cbor_keys, inner, max_size=3) | _tagged,
    max_leaves=12,
)
"""Anything that CBOR can hold."""


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Bytes of which some were changed, put in, taken out or cut off."""
    data = bytearray(draw(whole))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        how = draw(st.sampled_from(["change", "put in", "take out", "cut off"]))
        if how == "change" and at < len(data):
            data[at] = draw(st.integers(0, 255))
        elif how == "put in":
            data[at:at] = draw(st.binary(min_size=1, max_size=4))
        elif how == "take out":
            del data[at : at + draw(st.integers(1, 4))]
        elif how == "cut off":
            del data[at:]
    return bytes(data)
