"""Saving and loading the state of agents and of a runtime."""

from __future__ import annotations

import json

import pytest
from autogen_core import AgentId

from .agents import Counter, Echo
from .bench import LOCAL, Bench
from .conftest import NewBench
from .messages import Number

ONE, TWO = AgentId("counter", "one"), AgentId("counter", "two")


async def test_agent_state_is_saved_and_loaded_by_id(bench: Bench) -> None:
    await Counter.register(bench.host, "counter", Counter)
    await bench.start("counter")
    await bench.call(Number(5), ONE)
    state = await bench.caller.agent_save_state(ONE)
    assert state == {"total": 5}
    await bench.caller.agent_load_state(TWO, state)
    assert await bench.call(Number(1), TWO) == Number(6)
    assert await bench.call(Number(1), ONE) == Number(6)


async def test_agent_state_may_be_loaded_before_the_first_message(bench: Bench) -> None:
    await Counter.register(bench.host, "counter", Counter)
    await bench.start("counter")
    await bench.caller.agent_load_state(ONE, {"total": 10})
    assert await bench.call(Number(1), ONE) == Number(11)


async def test_agent_metadata_gives_type_key_and_description(bench: Bench) -> None:
    await Counter.register(bench.host, "counter", Counter)
    await bench.start("counter")
    assert await bench.caller.agent_metadata(ONE) == {"type": "counter", "key": "one", "description": "a counter"}


async def test_error_in_load_state_reaches_the_caller(bench: Bench) -> None:
    await Counter.register(bench.host, "counter", Counter)
    await bench.start("counter")
    with pytest.raises(KeyError, match=r"^'total'$"):
        await bench.caller.agent_load_state(ONE, {"wrong": 1})


@pytest.mark.parametrize("kind", LOCAL, indirect=True)
async def test_state_and_metadata_of_an_unknown_type_are_lookup_errors(bench: Bench) -> None:
    nobody = AgentId("nobody", "k")
    for asking in (
        bench.caller.agent_metadata(nobody),
        bench.caller.agent_save_state(nobody),
        bench.caller.agent_load_state(nobody, {}),
    ):
        with pytest.raises(LookupError, match="nobody"):
            await asking


@pytest.mark.parametrize("kind", LOCAL, indirect=True)
async def test_agent_state_works_without_a_started_runtime(bench: Bench) -> None:
    await Counter.register(bench.host, "counter", Counter)
    await bench.host.agent_load_state(ONE, {"total": 3})
    assert await bench.host.agent_save_state(ONE) == {"total": 3}
    assert (await bench.host.agent_metadata(ONE))["description"] == "a counter"


async def test_runtime_state_holds_every_agent_that_was_made(bench: Bench) -> None:
    await Counter.register(bench.host, "counter", Counter)
    await bench.start("counter")
    await bench.call(Number(1), ONE)
    await bench.call(Number(2), TWO)
    state = await bench.host.save_state()
    assert state == {"counter/one": {"total": 1}, "counter/two": {"total": 2}}
    assert json.loads(json.dumps(state)) == state


async def test_runtime_state_goes_into_a_new_runtime(new_bench: NewBench) -> None:
    old, new = new_bench(), new_bench()
    for bench in (old, new):
        await Counter.register(bench.host, "counter", Counter)
    await old.host.agent_load_state(ONE, {"total": 1})
    await old.host.agent_load_state(TWO, {"total": 2})
    await new.host.load_state(await old.host.save_state())
    await new.start("counter")
    assert [await new.call(Number(10), to) for to in (ONE, TWO)] == [Number(11), Number(12)]


async def test_runtime_state_of_a_type_that_is_not_here_is_left_out(bench: Bench) -> None:
    await Counter.register(bench.host, "counter", Counter)
    await bench.host.load_state({"elsewhere/one": {"total": 1}, "counter/one": {"total": 2}})
    assert await bench.host.save_state() == {"counter/one": {"total": 2}}


async def test_runtime_state_of_an_instance_is_saved_and_loaded(bench: Bench) -> None:
    await bench.host.register_agent_instance(Counter(), ONE)
    await bench.host.load_state({"counter/one": {"total": 8}})
    assert await bench.host.save_state() == {"counter/one": {"total": 8}}


async def test_agent_without_state_methods_warns_and_has_none(bench: Bench) -> None:
    await Echo.register(bench.host, "echo", Echo)
    await bench.host.get("echo", lazy=False)
    with pytest.warns(UserWarning, match=r"^save_state not implemented$"):
        assert await bench.host.save_state() == {"echo/default": {}}
    with pytest.warns(UserWarning, match=r"^load_state not implemented$"):
        await bench.host.load_state({"echo/default": {}})
