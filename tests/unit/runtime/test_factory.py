"""One call that makes a runtime from arguments, or from the environment."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from autogen_core import DefaultTopicId

from tests.integration.clusters import new_name, within
from zmqagents import ConfigError, ZmqAgentRuntime, create_distributed_runtime


def test_runtime_is_brokerless_without_a_broker_url() -> None:
    runtime = create_distributed_runtime(instance_id="till-1", cluster="shop", discovery="none")
    assert isinstance(runtime, ZmqAgentRuntime)
    assert (runtime.config.instance_id, runtime.config.cluster) == ("till-1", "shop")


def test_arguments_may_be_given_by_position() -> None:
    assert create_distributed_runtime(None, "till-1").config.instance_id == "till-1"


def test_environment_fills_in_the_instance_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSTANCE_ID", "till-2")
    assert create_distributed_runtime().config.instance_id == "till-2"
    assert create_distributed_runtime(instance_id="till-1").config.instance_id == "till-1"


@pytest.mark.parametrize("how", ["argument", "environment"])
@pytest.mark.parametrize("url", ["localhost:50051", "grpc://host:1", "tcp://host"])
def test_broker_url_that_cannot_be_used_says_what_to_write(monkeypatch: pytest.MonkeyPatch, how: str, url: str) -> None:
    arguments: dict[str, Any] = {}
    if how == "argument":
        arguments["broker_url"] = url
    else:
        monkeypatch.setenv("BROKER_URL", url)
    with pytest.raises(ConfigError, match=rf"^broker_url='{url}': write tcp://host:port"):
        create_distributed_runtime(**arguments)


def test_broker_url_names_the_forwarders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_URL", "tcp://f1:1,tcp://f2:1")
    assert create_distributed_runtime().config.forwarders() == ("tcp://f1:1", "tcp://f2:1")
    assert create_distributed_runtime("tcp://f3:1").config.forwarders() == ("tcp://f3:1",)


def test_empty_broker_url_in_the_environment_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_URL", "")
    assert create_distributed_runtime().config.cluster == "default"


def test_wrong_setting_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="unknown setting 'clutser'"):
        create_distributed_runtime(clutser="x")


def test_signature_takes_all_that_the_class_takes() -> None:
    own = inspect.signature(create_distributed_runtime).parameters
    assert own.keys() - {"broker_url", "instance_id"} == inspect.signature(ZmqAgentRuntime).parameters.keys()


@pytest.mark.integration
async def test_runtime_may_be_awaited_and_used_with_async_with() -> None:
    runtime = await create_distributed_runtime(cluster=new_name(), discovery="none")
    async with runtime as entered:
        assert entered is runtime
        assert runtime.peers() == []
    async with create_distributed_runtime(cluster=new_name(), discovery="none") as another:
        await within(another.publish_message("hi", DefaultTopicId()))
