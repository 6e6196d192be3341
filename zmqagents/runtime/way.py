"""The way of one call to its agent: where to next, how long to wait, and when to give up.

An agent may be anywhere, move while it is asked, or not exist yet. As long as a call was certainly not executed it
goes on to wherever the agent is said to be; what bounds it is ``discovery_timeout_s`` without progress, and the call's
deadline.
"""

from __future__ import annotations

from zmqagents.config import RuntimeConfig
from zmqagents.errors import PolicyConflictError
from zmqagents.protocol import frames as f
from zmqagents.protocol.agents.arrivals import Hold
from zmqagents.protocol.agents.locations import Itinerary
from zmqagents.protocol.directory import PolicyConflict
from zmqagents.protocol.effects import Fate
from zmqagents.protocol.ids import AgentKey, NodeId, agent_type_of, is_node_id
from zmqagents.runtime.failures import AgentNotFound
from zmqagents.runtime.policies import conflict_text
from zmqagents.transport.driver import Driver

LOOK_AGAIN_S = 0.25  # where the processes disagree about an agent's home, and nothing changes here


class Way:
    """One call's way. Times are of the loop's clock."""

    __slots__ = ("_config", "_deadline_s", "_driver", "_give_up_s", "_itinerary", "_node", "_refused_by", "_wait")

    def __init__(self, config: RuntimeConfig, driver: Driver, key: AgentKey, deadline_s: float | None) -> None:
        self._config = config
        self._driver = driver
        self._node = driver.node
        self._itinerary = Itinerary(driver.node.agency.locations, key)
        self._deadline_s = deadline_s
        self._give_up_s: float | None = None
        self._refused_by: NodeId | None = None
        self._wait = False

    @property
    def hops(self) -> int:
        """How often the call was sent on since it last waited."""
        return self._itinerary.hops

    async def next(self) -> NodeId:
        """The node to ask now; waits for a host to appear. AgentNotFound after ``discovery_timeout_s``."""
        self._check_policy()
        if self._wait:
            self._wait = False
            await self._driver.wait_for_change(min(self._left_s(), LOOK_AGAIN_S))
        node_id = self._target()
        if node_id is not None:
            return node_id
        await self._driver.wait_until(lambda: self._target() is not None, self._left_s())
        node_id = self._target()
        if node_id is None:
            raise self._not_found()
        return node_id

    def _target(self) -> NodeId | None:
        node_id = self._itinerary.target()
        return None if node_id == self._refused_by else node_id

    def _check_policy(self) -> None:
        policy = self._node.directory.policy(agent_type_of(self._itinerary.key))
        if isinstance(policy, PolicyConflict):
            text = conflict_text(policy, self._node.label)
            raise PolicyConflictError(text, peer=self._node.label(policy.one))

    def _left_s(self) -> float:
        """How long this call may still wait for an agent to be somewhere."""
        now_s = self._driver.now_s
        if self._give_up_s is None:
            self._give_up_s = now_s + self._config.discovery_timeout_s
        end_s = self._give_up_s if self._deadline_s is None else min(self._give_up_s, self._deadline_s)
        return max(end_s - now_s, 0.0)

    async def enter(self) -> bool:
        """Let the call into the agent of this process, once that takes calls; False if it is elsewhere."""
        arrivals = self._node.agency.arrivals
        place = arrivals.enter(self._itinerary.key, self._driver.now_s)
        if isinstance(place, Hold):
            self._driver.perform()
            end_s = self._driver.now_s + self._config.discovery_timeout_s + self._config.drain_timeout_s
            if self._deadline_s is not None:
                end_s = min(end_s, self._deadline_s)
            while isinstance(place, Hold):
                if self._driver.now_s >= end_s:
                    raise self._not_found()
                await self._driver.wait_for_change(end_s - self._driver.now_s)
                place = arrivals.enter(self._itinerary.key, self._driver.now_s)
        if place is None:
            self._itinerary.locations.forget(self._itinerary.key)
            self._refused_by = self._node.node_id
        return place == self._node.node_id

    # -- outcomes ----------------------------------------------------------------------------------------------

    def node_gone(self, node_id: NodeId) -> None:
        """The node has gone before anything was sent."""
        self._itinerary.moved(node_id, None)

    def goes_on(self, node_id: NodeId, outcome: f.Error | Fate) -> bool:
        """Whether the call was certainly not executed, and is to be sent again; ``next`` says where."""
        if isinstance(outcome, f.Error) and outcome.code == f.ErrorCode.MOVED:
            to = outcome.payload if is_node_id(outcome.payload) else None
            if to is not None and to != self._node.node_id and self._node.membership.get(to) is None:
                to = None
            self._refused_by = None
            self._wait = not self._itinerary.moved(node_id, to)
            return not self._wait or self._may_wait()
        if isinstance(outcome, f.Error) and outcome.code == f.ErrorCode.UNDELIVERABLE:
            self._itinerary.moved(node_id, None)
            self._refused_by = node_id
            return self._may_wait()
        if outcome is Fate.UNDELIVERABLE:
            self._itinerary.moved(node_id, None)
            return self._may_wait()
        return False

    def _may_wait(self) -> bool:
        return self._left_s() > 0

    def _not_found(self) -> AgentNotFound:
        agent_type = agent_type_of(self._itinerary.key)
        return AgentNotFound(
            f"no process of cluster {self._node.record.cluster!r} hosts agent type {agent_type!r}: waited"
            f" {self._config.discovery_timeout_s:g} s. Is the process that registers it running, in the same cluster?"
            " `await runtime.wait_for_agents(...)` waits longer."
        )
