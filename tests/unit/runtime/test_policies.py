"""How users say where agents live, and what the record tells of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from autogen_core import BaseAgent, MessageContext, RoutedAgent, event, message_handler, rpc

from tests.integration.clusters import eventually, node_of, within
from tests.unit.runtime.wired import WiredCluster
from zmqagents import ConfigError, MsgpackSerializer, Placement, RuntimeConfig, idempotent, placement
from zmqagents.protocol.ids import short
from zmqagents.protocol.placement import Policy
from zmqagents.protocol.records import HostedType
from zmqagents.runtime import policies
from zmqagents.runtime.policies import hosted_type, idempotent_types, placement_of


@dataclass
class Ask:
    text: str


@dataclass
class Tell:
    text: str


class Worker(RoutedAgent):
    """Says nothing about where it lives."""

    def __init__(self) -> None:
        super().__init__("works")

    @message_handler
    async def on_ask(self, message: Ask, ctx: MessageContext) -> str:
        del ctx
        return message.text

    async def save_state(self) -> Mapping[str, Any]:
        return {}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        del state


@placement("rebalance", weight=30)
class Mover(Worker):
    """Moves to new hosts."""


class Forgetful(RoutedAgent):
    """Has no state to move."""


class Saving(Forgetful):
    """Saves a state that it can't load."""

    async def save_state(self) -> Mapping[str, Any]:
        return {}


class TestPlacement:
    def test_class_says_by_the_decorator_how_its_agents_are_placed(self) -> None:
        assert placement_of(Mover) == Placement("rebalance", 30)

    def test_class_without_decorator_says_nothing(self) -> None:
        assert placement_of(Worker) == Placement(None, None)

    def test_class_is_placed_as_its_base_is(self) -> None:
        class Child(Mover):
            pass

        assert placement_of(Child) == Placement("rebalance", 30)

    def test_what_a_decorator_leaves_out_is_as_in_the_base(self) -> None:
        @placement(weight=5)
        class Light(Mover):
            pass

        @placement("random")
        class Anywhere(Mover):
            pass

        assert placement_of(Light) == Placement("rebalance", 5)
        assert placement_of(Anywhere) == Placement("random", 30)
        assert placement_of(Mover) == Placement("rebalance", 30)

    def test_unknown_policy_is_a_config_error_that_lists_the_policies(self) -> None:
        with pytest.raises(ConfigError, match="policy='sticky': write one of by_key, rebalance, least_loaded"):
            placement("sticky")

    def test_wrong_weight_is_a_config_error(self) -> None:
        with pytest.raises(ConfigError, match="weight=-1: write a whole number"):
            placement("random", weight=-1)

    def test_decorator_without_parentheses_is_a_type_error_that_says_what_to_write(self) -> None:
        with pytest.raises(TypeError, match=r'write @placement\("rebalance"\)'):
            placement(Worker)  # type: ignore[arg-type]

    def test_decorator_of_something_else_than_a_class_is_a_type_error(self) -> None:
        with pytest.raises(TypeError, match="write it above the class"):
            placement("random")(Worker.on_ask)  # type: ignore[type-var]


def hosted(cls: type[BaseAgent] | None, **settings: Any) -> HostedType:
    return hosted_type(RuntimeConfig(**settings), "worker", cls)


class TestHostedType:
    def test_type_is_placed_by_key_with_the_weight_of_the_process_if_nothing_is_said(self) -> None:
        assert hosted(Worker) == hosted(None) == HostedType("by_key", 100)
        assert hosted(Worker, weight=7) == HostedType("by_key", 7)

    def test_class_is_heard_before_the_defaults(self) -> None:
        assert hosted(Mover, weight=7) == HostedType("rebalance", 30)

    def test_settings_are_heard_before_the_class(self) -> None:
        assert hosted(Mover, placements={"worker": "random"}) == HostedType("random", 30)
        assert hosted(Mover, placements={"worker": Placement(weight=0)}) == HostedType("rebalance", 0)
        assert hosted(None, placements={"worker": Placement("local_first", 3)}) == HostedType("local_first", 3)
        assert hosted(Mover, placements={"other": "random"}) == HostedType("rebalance", 30)

    @pytest.mark.parametrize(
        ("cls", "missing"), [(Forgetful, "no save_state and no load_state"), (Saving, "no load_state")]
    )
    def test_rebalance_of_a_class_that_loses_its_state_is_a_config_error(
        self, cls: type[BaseAgent], missing: str
    ) -> None:
        with pytest.raises(ConfigError, match=rf"'worker' can't be placed .*{cls.__name__} has {missing},"):
            hosted(cls, placements={"worker": "rebalance"})

    def test_rebalance_without_a_class_is_a_config_error_that_asks_for_it(self) -> None:
        with pytest.raises(ConfigError, match="expected_class="):
            hosted(None, placements={"worker": "rebalance"})

    def test_idempotent_messages_are_told(self) -> None:
        class Careful(RoutedAgent):
            @idempotent
            @rpc
            async def on_ask(self, message: Ask, ctx: MessageContext) -> str:
                return ""

        assert hosted(Careful) == HostedType("by_key", 100, frozenset({"Ask"}))


class TestIdempotent:
    @pytest.mark.parametrize(
        "decorator", [message_handler, rpc, message_handler(match=lambda *_: True), rpc(match=lambda *_: True)]
    )
    def test_mark_stands_above_or_below_the_handler_decorator(self, decorator: Callable[..., Any]) -> None:
        class Careful(RoutedAgent):
            @idempotent
            @decorator
            async def on_ask(self, message: Ask, ctx: MessageContext) -> str:
                return ""

            @decorator
            @idempotent
            async def on_tell(self, message: Tell, ctx: MessageContext) -> str:
                return ""

        assert idempotent_types(Careful) == {"Ask", "Tell"}

    def test_event_handler_may_be_marked(self) -> None:
        class Careful(RoutedAgent):
            @idempotent
            @event
            async def on_ask(self, message: Ask, ctx: MessageContext) -> None: ...

            @event
            @idempotent
            async def on_tell(self, message: Tell, ctx: MessageContext) -> None: ...

        assert idempotent_types(Careful) == {"Ask", "Tell"}

    def test_handlers_without_mark_are_not_idempotent(self) -> None:
        assert idempotent_types(Worker) == frozenset()

    def test_every_message_of_a_marked_handler_is_idempotent(self) -> None:
        class Careful(RoutedAgent):
            @idempotent
            @rpc
            async def on_both(self, message: Ask | Tell, ctx: MessageContext) -> str:
                return ""

            @rpc
            async def on_number(self, message: int, ctx: MessageContext) -> str:
                return ""

        assert idempotent_types(Careful) == {"Ask", "Tell"}

    def test_values_have_the_names_under_which_they_travel(self) -> None:
        class Careful(RoutedAgent):
            @idempotent
            @rpc
            async def on_number(self, message: int, ctx: MessageContext) -> str:
                return ""

        assert idempotent_types(Careful) == {"int"}

    def test_mark_is_inherited_and_lost_where_the_handler_is_written_anew(self) -> None:
        class Careful(RoutedAgent):
            @idempotent
            @rpc
            async def on_ask(self, message: Ask, ctx: MessageContext) -> str:
                return ""

        class Child(Careful):
            pass

        class Careless(Careful):
            @rpc
            async def on_ask(self, message: Ask, ctx: MessageContext) -> str:  # type: ignore[override]  # AutoGen types a handler by its class
                return ""

        assert idempotent_types(Child) == {"Ask"}
        assert idempotent_types(Careless) == frozenset()

    def test_marked_method_that_handles_nothing_is_a_config_error_that_says_what_is_missing(self) -> None:
        class Forgotten(RoutedAgent):
            @idempotent
            async def on_ask(self, message: Ask, ctx: MessageContext) -> str:
                return ""

        with pytest.raises(ConfigError, match=r"Forgotten.on_ask is @idempotent but handles no messages: write @"):
            idempotent_types(Forgotten)

    def test_message_with_a_marked_and_an_unmarked_handler_is_a_config_error_that_names_both(self) -> None:
        class Torn(RoutedAgent):
            @idempotent
            @rpc(match=lambda *_: True)
            async def on_a(self, message: Ask, ctx: MessageContext) -> str:
                return ""

            @rpc
            async def on_other(self, message: Ask, ctx: MessageContext) -> str:
                return ""

        with pytest.raises(ConfigError, match="Ask in on_a, which is @idempotent, and in on_other, which is not"):
            idempotent_types(Torn)

    @pytest.mark.parametrize("wrong", [Worker, "on_ask", staticmethod(len)])
    def test_mark_of_anything_but_a_method_is_a_type_error_that_says_what_to_write(self, wrong: Any) -> None:
        with pytest.raises(TypeError, match="write it, without parentheses, above or below @message_handler"):
            idempotent(wrong)


async def test_registration_of_what_cannot_be_placed_is_refused_and_leaves_nothing(wired: WiredCluster) -> None:
    runtime = await wired.host(placements={"forgetful": "rebalance"})
    with pytest.raises(ConfigError, match="no save_state and no load_state"):
        await Forgetful.register(runtime, "forgetful", lambda: Forgetful(""))
    await within(Worker.register(runtime, "worker", Worker))
    await eventually(lambda: node_of(runtime).record.types.keys() == {"worker"})


async def test_record_tells_how_each_type_is_placed(wired: WiredCluster) -> None:
    host = await wired.host(Worker, Mover, weight=40, placements={"worker": "least_loaded"})
    other = await wired.host()

    def told() -> dict[str, HostedType]:
        directory = node_of(other).directory
        return {name: hosted for name in ("worker", "mover") for hosted in directory.hosts(name).values()}

    await eventually(lambda: len(told()) == 2)
    assert told() == {"worker": HostedType("least_loaded", 40), "mover": HostedType("rebalance", 30)}
    assert node_of(other).directory.policy("worker") is Policy.LEAST_LOADED
    assert node_of(host).directory.policy("mover") is Policy.REBALANCE


async def test_record_names_idempotent_messages_as_their_serializers_do(wired: WiredCluster) -> None:
    class Careful(RoutedAgent):
        @idempotent
        @rpc
        async def on_ask(self, message: Ask, ctx: MessageContext) -> str:
            return ""

    runtime = wired.make()
    runtime.add_message_serializer(MsgpackSerializer(Ask, type_name="shop.Ask"))
    await Careful.register(runtime, "careful", lambda: Careful(""))
    await within(runtime.start())
    assert node_of(runtime).record.types["careful"].idempotent == {"shop.Ask"}


def conflicts_logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


async def test_processes_that_disagree_about_a_policy_are_named_once_with_what_to_do(
    wired: WiredCluster, caplog: pytest.LogCaptureFixture
) -> None:
    one = await wired.host(Worker, instance_id="till-1")
    two = await wired.host(Worker, instance_id="till-2", placements={"worker": "random"})
    await eventually(lambda: len(conflicts_logged(caplog)) == 2)  # each of the two tells it
    await Mover.register(two, "mover", Mover)  # news that has nothing to do with it
    await eventually(lambda: node_of(one).directory.hosts("mover"))

    said = {"till-1": "by_key", "till-2": "random"}
    parts = [
        f"{said[str(runtime.config.instance_id)]!r} in {runtime.config.instance_id} ({short(node_of(runtime).node_id)})"
        for runtime in sorted((one, two), key=lambda runtime: node_of(runtime).node_id)
    ]
    expected = (
        f"agents of type 'worker' are placed by {parts[0]} and by {parts[1]}: nothing is sent to them until all"
        " processes that host the type name one policy, with @placement on its class or in the setting placements"
    )
    assert conflicts_logged(caplog) == [expected, expected]


async def test_conflicts_that_are_logged_are_bounded(
    wired: WiredCluster, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "MAX_TOLD", 2)
    one = await wired.host(Worker, Mover)
    await RoutedAgent.register(one, "third", lambda: RoutedAgent(""))
    two = await wired.host(placements=dict.fromkeys(("worker", "mover", "third"), "random"))
    for name in ("worker", "mover", "third"):
        await Worker.register(two, name, Worker)
    await eventually(lambda: [len(node_of(each).directory.conflicts()) for each in (one, two)] == [3, 3])
    await eventually(lambda: len(conflicts_logged(caplog)) >= 4)
    assert len(conflicts_logged(caplog)) == 4, "two by each process"
