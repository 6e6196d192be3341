"""What a node does with a message that came for an agent (SPEC.md section 8.6): serve, hold, or send on.

A call for an agent that is not here is refused with MOVED, which costs its sender one exchange and leaves it with one
outcome to wait for; rejected: forwarding it, which would put the outcome into the hands of a third process. An event
is forwarded, because its sender waits for nothing, and kept until it is finished where it went.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from msgspec.structs import replace

from zmqagents.errors import LocalProtocolError
from zmqagents.protocol import frames as f
from zmqagents.protocol.agents.claims import Claims
from zmqagents.protocol.agents.locations import Locations
from zmqagents.protocol.agents.moves import Moves
from zmqagents.protocol.agents.residents import Held, Resident, Residents, Stay
from zmqagents.protocol.agents.routes import EventRoutes
from zmqagents.protocol.effects import Incoming
from zmqagents.protocol.events import Origin
from zmqagents.protocol.ids import AgentKey, CallId, NodeId, agent_type_of
from zmqagents.protocol.placement import Policy
from zmqagents.protocol.records import Phase
from zmqagents.protocol.state import NodeState
from zmqagents.protocol.tuples import made


class Hold(Enum):
    """The place of an agent can't be told yet."""

    HOLD = auto()


HOLD = Hold.HOLD

Tell = Callable[[NodeId, f.DataFrame], bool]


class Arrivals:
    """Messages for agents, from other nodes and from this one. ``tell`` sends a data frame to a member."""

    def __init__(
        self, state: NodeState, residents: Residents, locations: Locations, claims: Claims, moves: Moves, tell: Tell
    ) -> None:
        self._state = state
        self._directory = state.directory
        self._residents = residents
        self._locations = locations
        self._claims = claims
        self._moves = moves
        self._tell = tell
        self.routes: EventRoutes = None  # type: ignore[assignment]  # set by the node that composes this
        self._serving: dict[tuple[NodeId, CallId], AgentKey] = {}
        self._adopting: dict[tuple[NodeId, CallId], None] = {}
        self._now_s = 0.0
        claims.known = self._type_known
        moves.release = self._stay_on
        moves.redirect = self._redirect

    # -- where an agent is -------------------------------------------------------------------------------------

    def place(self, key: AgentKey, *, call: bool, now_s: float) -> NodeId | Hold | None:
        """Where the agent is: here, on another node, nowhere (None), or not to be told yet.

        An agent that is active nowhere becomes active here, if this is its home.
        """
        resident = self._residents.get(key)
        if resident is not None:
            if resident.stay is Stay.ACTIVE or (
                call and resident.stay is Stay.DRAINING and self._moves.serves_calls(resident)
            ):
                return self._state.node_id
            return HOLD
        return self._place_of_absent(key, now_s)

    def _place_of_absent(self, key: AgentKey, now_s: float) -> NodeId | Hold | None:
        own = self._state.node_id
        pinned = self._directory.pinned_at(key)
        if pinned is not None:
            return pinned
        agent_type = agent_type_of(key)
        policy = self._directory.policy(agent_type)
        record = self._state.membership.own
        if isinstance(policy, Policy) and not policy.keyed:
            here = agent_type in record.types and record.phase is Phase.ACTIVE
            return own if here else self._locations.balanced(agent_type, policy)
        home = self._directory.home(key)
        if home is None:
            return own if self._locations.hosted_while_leaving(key) else None
        if home != own or agent_type not in record.types:  # a type of which only instances are hosted: an error says so
            return home
        entry = self._claims.entry(key)
        if entry is not None:
            return entry
        if self._claims.is_known(agent_type, now_s):
            self._residents.add(key, Stay.ACTIVE)
            return own
        self._residents.add(key, Stay.AWAITED)
        return HOLD

    # -- calls -------------------------------------------------------------------------------------------------

    def enter(self, key: AgentKey, now_s: float) -> NodeId | Hold | None:
        """A call of this process is to be handled here: its place; if that is here, ``left`` follows."""
        resident = self._residents.get(key)
        if resident is not None and resident.stay is Stay.ACTIVE:
            resident.running += 1
            return self._state.node_id
        place = self.place(key, call=True, now_s=now_s)
        if place == self._state.node_id:
            self._begin(key)
        elif isinstance(place, bytes):
            self._locations.learn(key, place)
        return place

    def enter_event(self, key: AgentKey, now_s: float) -> bool:
        """Whether an event of this process may be handled here at once, ahead of none that is on its way.

        If so, ``left`` follows.
        """
        if not self.routes.is_free(key) or self.place(key, call=False, now_s=now_s) != self._state.node_id:
            return False
        self._begin(key)
        return True

    def enter_active(self, key: AgentKey) -> bool:
        """As ``enter``, for an agent that is active here; False if it isn't."""
        resident = self._residents.get(key)
        if resident is None or resident.stay is not Stay.ACTIVE:
            return False
        resident.running += 1
        return True

    def left(self, key: AgentKey) -> None:
        """A handler that ``enter`` or an event of this process let in has ended."""
        resident = self._residents.get(key)
        if resident is not None:
            resident.running -= 1
            if resident.stay is Stay.DRAINING:
                self._moves.handler_ended(resident)

    def _begin(self, key: AgentKey) -> None:
        resident = self._residents.get(key)
        if resident is not None:
            resident.running += 1

    def call(self, peer: NodeId, number: int, frame: f.Request | f.Agent, now_s: float) -> None:
        """A call came: it is served, held, or answered with an error. ``served`` knows of it already."""
        key = frame.agent
        resident = self._residents.get(key)
        leaves = self._state.membership.own.phase is Phase.LEAVING
        if resident is not None and resident.stay is Stay.ACTIVE and type(frame) is f.Request and not leaves:
            resident.running += 1  # as it is most of the time
            self._serving[peer, frame.call_id] = key
            self._state.effects.append(made(Incoming, (peer, number, frame)))
            return
        if not key:  # an operation on the node itself
            self._state.effects.append(Incoming(peer, number, frame))
            return
        if isinstance(frame, f.Agent) and frame.operation == f.Operation.ADOPT:
            self._adopt(peer, number, frame)
            return
        place = self.place(key, call=True, now_s=now_s)
        if place == self._state.node_id and self._winds_down(key):
            place = None
        if place == self._state.node_id:
            self._serve(peer, number, frame, key)
        elif isinstance(place, Hold):
            resident = self._residents.get(key)
            if resident is None:
                raise LocalProtocolError(f"nothing holds messages for {key}")
            self._residents.hold(resident, Held(peer, number, frame, now_s))
        else:
            self._refuse(peer, frame.call_id, key, place)

    def _winds_down(self, key: AgentKey) -> bool:
        """Whether the agent ends with this node, which leaves: what others still send keeps it from ending."""
        return self._is_leaving and self._directory.home(key) is None

    @property
    def _is_leaving(self) -> bool:
        return self._state.membership.own.phase is Phase.LEAVING

    def _serve(self, peer: NodeId, number: int, frame: f.Request | f.Agent, key: AgentKey) -> None:
        self._begin(key)
        self._serving[peer, frame.call_id] = key
        self._state.effects.append(Incoming(peer, number, frame))

    def _refuse(self, peer: NodeId, call_id: CallId, key: AgentKey, place: NodeId | None) -> None:
        if place is None:
            leaving = self._state.membership.own.phase is Phase.LEAVING
            text = "It is leaving the cluster." if leaving else "Its type is not registered there."
            self._answer(peer, f.Error(call_id, f.ErrorCode.UNDELIVERABLE, "", text, b""))
            return
        self._disclaim(key, place)
        self._answer(peer, f.Error(call_id, f.ErrorCode.MOVED, "", "", place))

    def _disclaim(self, key: AgentKey, home: NodeId) -> None:
        """Whoever was sent here by the agent's home was sent by mistake."""
        if home != self._state.node_id and home == self._directory.home(key):
            self._tell(home, f.Disclaim(key))

    def _answer(self, peer: NodeId, frame: f.Reply | f.Error) -> None:
        if self._state.served.end(peer, frame.call_id):
            self._tell(peer, frame)

    def answered(self, peer: NodeId, frame: f.Reply | f.Error) -> None:
        """The application has answered a call, whether or not its caller is still there."""
        key = self._serving.pop((peer, frame.call_id), None)
        if key is None:
            return
        if (peer, frame.call_id) in self._adopting:
            del self._adopting[peer, frame.call_id]
            self._arrived(key)
        else:
            self.left(key)

    def cancelled(self, peer: NodeId, call_id: CallId) -> bool:
        """A CANCEL came: whether the call was held, and is answered now."""
        for key in self._residents.holding:
            resident = self._residents.get(key)
            if resident is not None and resident.drop_call(peer, call_id):
                self._answer(peer, f.Error(call_id, f.ErrorCode.CANCELLED, "", "", b""))
                return True
        return False

    # -- events ------------------------------------------------------------------------------------------------

    def event(self, peer: NodeId, receipt: int, frame: f.Event, now_s: float) -> None:
        """An event came from a peer: each recipient's part is delivered, held, or forwarded."""
        if len(frame.recipients) == 1 and not self.routes.ways:  # as it is most of the time
            resident = self._residents.get(frame.recipients[0])
            if resident is not None and resident.stay is Stay.ACTIVE:
                resident.running += 1
                self._state.effects.append(made(Incoming, (peer, receipt, frame)))
                return
        self._deliver(peer, receipt, frame, now_s)

    def own_event(self, frame: f.Event, origin: Origin | None, now_s: float) -> None:
        """An event that this node sends, its own or a forwarded one, is for agents here."""
        if origin is None:
            self._deliver(self._state.node_id, 0, frame, now_s)
        else:  # it goes nowhere: as if it had just come
            self._deliver(origin.peer, origin.receipt, replace(frame, hops=origin.hops), now_s)

    def _origin(self, peer: NodeId, receipt: int, frame: f.Event) -> Origin | None:
        """Of an event as it came; None if it is our own."""
        return None if peer == self._state.node_id else Origin(peer, receipt, frame.hops)

    def _deliver(self, peer: NodeId, receipt: int, frame: f.Event, now_s: float) -> None:
        origin = self._origin(peer, receipt, frame)
        here: list[AgentKey] = []
        for key in frame.recipients:
            place = self.place(key, call=False, now_s=now_s)
            is_here = place == self._state.node_id
            if (is_here or isinstance(place, Hold)) and not self.routes.is_free(key, origin):
                # What came before it was forwarded when the agent was elsewhere, and is not finished.
                self.routes.follow(replace(frame, recipients=[key]), origin)
            elif is_here:
                here.append(key)
                self._begin(key)
            elif isinstance(place, Hold):
                self._hold_event(peer, receipt, replace(frame, recipients=[key]), now_s)
            else:
                self._forward(peer, receipt, replace(frame, recipients=[key]), place)
        if here:
            part = frame if len(here) == len(frame.recipients) else replace(frame, recipients=here)
            self._state.effects.append(Incoming(peer, receipt, part))

    def _hold_event(self, peer: NodeId, receipt: int, frame: f.Event, now_s: float) -> None:
        resident = self._residents.get(frame.recipients[0])
        if resident is None:
            raise LocalProtocolError(f"nothing holds events for {frame.recipients[0]}")
        self._residents.hold(resident, Held(peer, receipt, frame, now_s))

    def _forward(self, peer: NodeId, receipt: int, frame: f.Event, place: NodeId | None) -> None:
        """Send an event for one agent on to where that is, and tell whoever sent it here."""
        if place is not None and peer != self._state.node_id:
            self._disclaim(frame.recipients[0], place)
            self._tell(peer, f.Moved(frame.recipients[0], place))
        self._send_on(peer, receipt, frame, place)

    def _send_on(self, peer: NodeId, receipt: int, frame: f.Event, place: NodeId | None) -> None:
        origin = self._origin(peer, receipt, frame)
        if place is None:
            self.routes.bury(frame, origin, "no process hosts its type")
            return
        self._locations.learn(frame.recipients[0], place)
        self.routes.send_on(frame, origin)

    # -- what was held -----------------------------------------------------------------------------------------

    def _type_known(self, agent_type: str) -> None:
        """A census has ended: the agents that were asked for are made here, or are elsewhere."""
        for resident in self._residents.of_type(agent_type):
            if resident.stay is not Stay.AWAITED:
                continue
            if not resident.holds:  # whoever asked has given up
                self._residents.remove(resident.key)
                continue
            home = self._directory.home(resident.key)
            entry = self._claims.entry(resident.key)
            if entry is None and home == self._state.node_id:
                resident.become(Stay.ACTIVE)
                self._release(resident)
            else:
                self._redirect(resident, entry if home == self._state.node_id else home)

    def unsettle(self, agent_type: str) -> None:
        """The hosts of a type have changed: agents that were asked for may have their home elsewhere now."""
        for resident in self._residents.of_type(agent_type):
            if resident.stay is Stay.AWAITED:
                home = self._directory.home(resident.key)
                if home != self._state.node_id:
                    self._redirect(resident, home)

    def _stay_on(self, resident: Resident) -> None:
        """An agent that was to move stays: its home has to know."""
        self._claims.look_again(agent_type_of(resident.key))
        self._release(resident)

    def _release(self, resident: Resident) -> None:
        """Serve what was held: the agent is active here."""
        self._locations.learn(resident.key, self._state.node_id)
        for held in self._residents.take_held(resident):
            if isinstance(held.frame, f.Event):
                self._deliver(held.peer, held.receipt, held.frame, held.since_s)
            else:
                self._serve_held(held, held.frame)

    def _serve_held(self, held: Held, frame: f.Request | f.Agent) -> None:
        timeout_ms = frame.timeout_ms
        if timeout_ms is not None:
            timeout_ms = max(timeout_ms - int((self._now_s - held.since_s) * 1_000), 0)
            frame = replace(frame, timeout_ms=timeout_ms)
        self._serve(held.peer, held.receipt, frame, frame.agent)

    def _redirect(self, resident: Resident, to: NodeId | None) -> None:
        """The agent is not here: whatever was held for it goes there."""
        key = resident.key
        held = self._residents.take_held(resident)
        self._residents.remove(key)
        if resident.told is not None:
            self._tell(resident.told, f.Disclaim(key))
        if to is None:
            self._locations.forget(key)
        else:
            self._locations.learn(key, to)
            if held:
                self._disclaim(key, to)
            senders = {message.peer: None for message in held if isinstance(message.frame, f.Event)}
            for peer in senders:
                self._tell(peer, f.Moved(key, to))
        for message in held:
            if isinstance(message.frame, f.Event):
                self._send_on(message.peer, message.receipt, message.frame, to)
            elif to is None:
                self._refuse(message.peer, message.frame.call_id, key, None)
            else:
                self._answer(message.peer, f.Error(message.frame.call_id, f.ErrorCode.MOVED, "", "", to))

    # -- adoption ----------------------------------------------------------------------------------------------

    def _adopt(self, peer: NodeId, number: int, frame: f.Agent) -> None:
        """An agent comes with its state."""
        key = frame.agent
        resident = self._residents.get(key)
        record = self._state.membership.own
        if resident is not None and resident.stay is not Stay.AWAITED:  # its sender has it no more
            self._claims.stays(key, peer)
            self._moves.stays(resident, peer)
            self._answer(peer, f.Error(frame.call_id, f.ErrorCode.MOVED, "", "", self._state.node_id))
            return
        is_host = agent_type_of(key) in record.types and record.phase is Phase.ACTIVE
        if not is_host or self._directory.home(key) != self._state.node_id:  # its sender asks again
            self._refuse(peer, frame.call_id, key, None)
            return
        if resident is None:
            resident = self._residents.add(key, Stay.ARRIVING)
        else:
            resident.become(Stay.ARRIVING)
        self._claims.arrives(resident, peer)
        self._locations.learn(key, self._state.node_id)
        self._serving[peer, frame.call_id] = key
        self._adopting[peer, frame.call_id] = None
        self._state.effects.append(Incoming(peer, number, frame))

    def _arrived(self, key: AgentKey) -> None:
        """Its state is loaded; or could not be, and it begins anew."""
        resident = self._residents.get(key)
        if resident is None:
            return
        resident.become(Stay.ACTIVE)
        self._claims.look_again(agent_type_of(key))
        self._release(resident)
        self._moves.arrived(resident)

    # -- time and loss -----------------------------------------------------------------------------------------

    def tick(self, now_s: float) -> None:
        """The time, for what is held."""
        self._now_s = now_s

    def link_lost(self, peer: NodeId) -> None:
        """Nobody waits any more for what was held for the peer."""
        self._residents.drop_peer(peer)
