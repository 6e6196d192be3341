"""How users say where agents live: decorators for agent classes and handlers, and what a record tells of them.

What the settings say about an agent type comes before what its class says, and that before the defaults. Policies are
checked when a type is registered, where the program that is wrong can be told; what other processes say is compared
whenever it changes, because a policy that two hosts don't share gives one agent two homes.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from autogen_core import Agent, BaseAgent

from zmqagents.config import Placement, RuntimeConfig
from zmqagents.errors import ConfigError
from zmqagents.protocol.directory import PolicyConflict
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.node import Node
from zmqagents.protocol.placement import Policy
from zmqagents.protocol.records import HostedType
from zmqagents.runtime.codecs.names import describe, is_class, type_name
from zmqagents.runtime.codecs.values import VALUE_NAMES

logger = logging.getLogger("zmqagents")

MAX_TOLD = 1_024  # conflicts that are logged in one life; a cluster with more has been told enough

AgentClassT = TypeVar("AgentClassT", bound=type[Agent])
HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])

_PLACEMENT = "__zmqagents_placement__"
_IDEMPOTENT = "__zmqagents_idempotent__"


def placement(policy: str | None = None, *, weight: int | None = None) -> Callable[[AgentClassT], AgentClassT]:
    """Class decorator: how the agents of a class are shared among the processes that host them; see ``Placement``.

    What is left out is as the base class has it, at last ``"by_key"`` and the setting ``weight``. ConfigError, saying
    what to write, for a policy or weight that there isn't; TypeError if it does not decorate a class.
    """
    if policy is not None and not isinstance(policy, str):
        raise TypeError('@placement takes the name of a policy: write @placement("rebalance") above the class')
    placed = Placement(policy, weight)

    def decorate(cls: AgentClassT) -> AgentClassT:
        if not isinstance(cls, type):
            raise TypeError("@placement is for agent classes: write it above the class, or use the setting placements")
        setattr(cls, _PLACEMENT, placed.over(placement_of(cls)))
        return cls

    return decorate


def idempotent(handler: HandlerT) -> HandlerT:
    """Handler decorator: a call may run twice, so it is tried again if its process is lost instead of ``PeerLost``.

    It stands above or below ``@message_handler``, ``@rpc`` or ``@event``. TypeError on anything but a method.
    """
    if not inspect.isfunction(handler):
        raise TypeError(
            "@idempotent is for handler methods: write it, without parentheses, above or below @message_handler, @rpc"
            " or @event"
        )
    setattr(handler, _IDEMPOTENT, True)
    return handler


def placement_of(cls: type[Any]) -> Placement:
    """What the class, or one of its bases, says by ``@placement``."""
    placed = getattr(cls, _PLACEMENT, None)
    return placed if isinstance(placed, Placement) else Placement()


def idempotent_types(cls: type[Any], name_of: Callable[[type[Any]], str] | None = None) -> frozenset[str]:
    """Type names of the messages for which a call may run twice; ``name_of`` gives the names, by default AutoGen's.

    ConfigError if a method is marked that handles nothing, or if only some of a message's handlers are.
    """
    marked: dict[type[Any], str] = {}
    unmarked: dict[type[Any], str] = {}
    for name, handler in _methods(cls):
        is_marked = getattr(handler, _IDEMPOTENT, False) is True
        if getattr(handler, "is_message_handler", False) is True:
            types = filter(is_class, getattr(handler, "target_types", ()))
            (marked if is_marked else unmarked).update(dict.fromkeys(types, name))
        elif is_marked:
            raise ConfigError(
                f"{describe(cls)}.{name} is @idempotent but handles no messages: write @message_handler, @rpc or"
                " @event above it too"
            )
    for message in marked.keys() & unmarked.keys():
        raise ConfigError(
            f"{describe(cls)} handles {message.__name__} in {marked[message]}, which is @idempotent, and in"
            f" {unmarked[message]}, which is not: mark both, or neither"
        )
    return frozenset(map(name_of or _name_of, marked))


def _methods(cls: type[Any]) -> Iterator[tuple[str, Any]]:
    for name in dir(cls):
        method = getattr(cls, name, None)
        if callable(method):
            yield name, method


def _name_of(cls: type[Any]) -> str:
    return VALUE_NAMES.get(cls) or type_name(cls)


def hosted_type(
    config: RuntimeConfig,
    agent_type: str,
    cls: type[Agent] | None,
    name_of: Callable[[type[Any]], str] | None = None,
) -> HostedType:
    """What the record says about a type that this process hosts; ``cls`` is the class of its agents, if it was given.

    ConfigError if its policy asks for what the class doesn't have, and as ``idempotent_types``.
    """
    placed = config.placement(agent_type)
    if cls is not None:
        placed = placed.over(placement_of(cls))
    policy = Policy(placed.policy or Policy.BY_KEY)
    if policy is Policy.REBALANCE:
        _require_state(agent_type, cls)
    weight = config.weight if placed.weight is None else placed.weight
    return HostedType(policy.value, weight, idempotent_types(cls, name_of) if cls is not None else frozenset())


def _require_state(agent_type: str, cls: type[Agent] | None) -> None:
    if cls is None:
        raise ConfigError(
            f"{agent_type!r} can't be placed by 'rebalance' without its class, which has to save and load state:"
            " register it by the class's register(...), or with expected_class="
        )
    missing = [
        name
        for name in ("save_state", "load_state")
        if getattr(cls, name, None) in (None, getattr(BaseAgent, name), getattr(Agent, name, None))
    ]
    if missing:
        raise ConfigError(
            f"{agent_type!r} can't be placed by 'rebalance': {describe(cls)} has no {' and no '.join(missing)}, so its"
            " agents would lose their state when they move. Write them, or use 'by_key'"
        )


def conflict_text(conflict: PolicyConflict, label_of: Callable[[NodeId], str]) -> str:
    """For people: who disagrees with whom, and what to do."""
    agent_type, one, one_policy, other, other_policy = conflict
    return (
        f"agents of type {agent_type!r:.100} are placed by {one_policy!r:.40} in {label_of(one)} and by"
        f" {other_policy!r:.40} in {label_of(other)}: nothing is sent to them until all processes that host the type"
        " name one policy, with @placement on its class or in the setting placements"
    )


class ConflictLog:
    """Logs each pair of hosts that disagree about the policy of a type, once."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._version = -1
        self._told: set[tuple[str, NodeId, NodeId]] = set()

    def look(self) -> None:
        """Log what is new since the last look; cheap if nothing is."""
        directory = self._node.directory
        if directory.version == self._version:
            return
        self._version = directory.version
        for conflict in directory.conflicts():
            pair = (conflict.agent_type, conflict.one, conflict.other)
            if pair not in self._told and len(self._told) < MAX_TOLD:
                self._told.add(pair)
                logger.error("%s", conflict_text(conflict, self._node.label))
