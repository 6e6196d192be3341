"""``zmqagents call`` and ``publish``: a process without any class of the cluster speaks to its agents."""

from __future__ import annotations

import asyncio
import base64
import signal
from dataclasses import dataclass

import pytest
from autogen_core import MessageContext, RoutedAgent, TypeSubscription, message_handler

from tests.integration.agents import Counter, Echo, Patient
from tests.integration.clusters import Cluster, endpoint_of, eventually, instance_of
from tests.integration.commands import command, ended, run
from tests.integration.messages import Number, Text
from zmqagents import MsgpackSerializer, ZmqAgentRuntime

pytestmark = pytest.mark.integration


class OddError(Exception):
    """A class that no other process knows."""


@dataclass
class Packed:
    value: int


class Trouble(RoutedAgent):
    """Raises what its message names."""

    def __init__(self) -> None:
        super().__init__("trouble")

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> Text:
        raise {"odd": OddError, "value": ValueError}[message.content](f"no {message.content} today")


class Packer(RoutedAgent):
    """Answers in msgpack, once its runtime has a serializer for that; without a message to None."""

    def __init__(self) -> None:
        super().__init__("packs")

    @message_handler
    async def on_number(self, message: Number, ctx: MessageContext) -> Packed | None:
        return Packed(message.value) if message.value else None


def at(runtime: ZmqAgentRuntime) -> list[str]:
    """The options that find the cluster of a runtime."""
    return ["--cluster", runtime.config.cluster, "--seed", endpoint_of(runtime), "--discovery", "none"]


async def test_call_prints_the_reply_as_json(cluster: Cluster) -> None:
    host = await cluster.host(Echo)
    done = await run("call", "echo/one", '{"content": "grüße"}', "--message-type", "Text", *at(host))
    assert (done.status, done.stdout, done.stderr) == (0, '{"content": "gr\\u00fc\\u00dfe"}\n', "")
    assert instance_of(host, "echo/one") is not None


async def test_call_reads_a_message_from_standard_input_and_its_cluster_from_the_environment(cluster: Cluster) -> None:
    host = await cluster.host(Counter)
    environment = {
        "ZMQAGENTS_CLUSTER": cluster.name,
        "ZMQAGENTS_SEEDS": endpoint_of(host),
        "ZMQAGENTS_DISCOVERY": "none",
    }
    done = await run("call", "counter", "-", "--message-type", "Number", "--json", text='{"value": 3}', **environment)
    assert done.status == 0, done.stderr
    assert done.document == {
        "agent": "counter/default",
        "type": "Number",
        "content_type": "application/json",
        "reply": {"value": 3},
    }


async def test_call_that_visits_takes_neither_port_nor_label_of_the_environment(cluster: Cluster) -> None:
    host = await cluster.host(Echo)
    port = endpoint_of(host).rpartition(":")[2]
    sent = ["call", "echo", '{"content": "x"}', "--message-type", "Text", *at(host)]
    done = await run(*sent, ZMQAGENTS_PORT=port, INSTANCE_ID=host.config.instance_id)
    assert done.status == 0, done.stderr


async def test_call_of_a_type_that_nobody_hosts_fails_and_names_what_is_hosted(cluster: Cluster) -> None:
    host = await cluster.host(Echo, Counter)
    done = await run("call", "nobody/x", "{}", "--message-type", "Text", "--wait", "0.1", *at(host))
    assert done.status == 1
    assert done.stdout == ""
    assert "hosts agent type 'nobody'" in done.stderr
    assert "the cluster hosts counter, echo" in done.stderr


async def test_call_in_an_empty_cluster_points_to_the_doctor() -> None:
    done = await run("call", "nobody/x", "{}", "--message-type", "T", "--wait", "0", "--discovery", "none")
    assert done.status == 1
    assert "zmqagents doctor" in done.stderr


@pytest.mark.parametrize(
    ("raised", "shown"),
    [("value", "ValueError: no value today"), ("odd", "OddError: no odd today")],
    ids=["of a known class", "of an unknown class"],
)
async def test_call_shows_a_remote_exception_and_its_traceback_when_asked(
    cluster: Cluster, raised: str, shown: str
) -> None:
    host = await cluster.host(Trouble)
    sent = ["call", "trouble", f'{{"content": "{raised}"}}', "--message-type", "Text", *at(host)]
    short, long = await asyncio.gather(run(*sent), run(*sent, "--verbose", "--json"))
    assert short.status == long.status == 1
    assert shown in short.stderr
    assert "on_text" not in short.stderr
    assert "on_text" in long.stderr
    error = long.document["error"]
    assert error["class"] == {"value": "ValueError", "odd": "RemoteCallError"}[raised]
    assert "on_text" in error["remote_traceback"]


async def test_call_fails_when_its_time_is_up(cluster: Cluster) -> None:
    host = await cluster.host(Patient)
    sent = ["call", "patient", '{"content": ""}', "--message-type", "Text", "--timeout", "0.2", "--json"]
    done = await run(*sent, *at(host))
    assert done.status == 1
    assert done.document["error"]["class"] == "CallTimeoutError"
    assert "CallTimeoutError: " in done.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_call_that_is_interrupted_cancels_the_handler_leaves_and_says_so(
    cluster: Cluster, number: signal.Signals, status: int
) -> None:
    host = await cluster.host(Patient)
    sent = ["call", "patient", '{"content": ""}', "--message-type", "Text", *at(host)]
    async with command(*sent) as process:
        await eventually(lambda: "patient/default" in host._parts.agents.instances)
        agent = instance_of(host, "patient/default")
        await eventually(agent.begun.is_set)
        process.send_signal(number)
        done = await ended(process)
    assert (done.status, done.stdout, done.stderr) == (status, "", "interrupted\n")
    await eventually(agent.token_cancelled.is_set)
    await eventually(lambda: not host.peers())


async def test_call_with_a_type_that_its_home_does_not_read_says_what_it_reads(cluster: Cluster) -> None:
    host = await cluster.host(Echo)
    done = await run("call", "echo", "{}", "--message-type", "Txt", *at(host))
    assert done.status == 1
    assert "SerializationError: message type 'Txt'" in done.stderr
    assert (
        "node-1 does not say that it reads 'Txt' as application/json; it reads Text (application/json)" in done.stderr
    )


async def test_call_with_another_json_than_the_class_wants_says_what_is_missing(cluster: Cluster) -> None:
    host = await cluster.host(Echo)
    done = await run("call", "echo", '{"contents": ""}', "--message-type", "Text", *at(host))
    assert done.status == 1
    assert "`content`" in done.stderr


async def test_call_prints_a_reply_that_is_not_json_in_base64(cluster: Cluster) -> None:
    host = cluster.make()
    host.add_message_serializer(MsgpackSerializer(Packed))
    await Packer.register(host, "packer", Packer)
    await host.start()
    sent = ["call", "packer", '{"value": 7}', "--message-type", "Number", *at(host)]
    plain, document = await asyncio.gather(run(*sent), run(*sent, "--json"))
    assert plain.status == document.status == 0
    payload = MsgpackSerializer(Packed).serialize(Packed(7))
    assert base64.b64decode(plain.stdout) == payload
    assert "a Packed as application/msgpack" in plain.stderr
    assert base64.b64decode(document.document["base64"]) == payload


async def test_call_prints_null_for_a_handler_that_returns_nothing(cluster: Cluster) -> None:
    host = await cluster.host(Packer)
    done = await run("call", "packer", '{"value": 0}', "--message-type", "Number", "--json", *at(host))
    assert done.document == {
        "agent": "packer/default", "type": "null", "content_type": "application/json", "reply": None,
    }  # fmt: skip


async def test_publish_reaches_a_subscriber_and_says_so(cluster: Cluster) -> None:
    host = await cluster.host(Counter)
    await host.add_subscription(TypeSubscription("numbers", "counter"))
    sent = ["publish", "numbers/some", '{"value": 5}', "--message-type", "Number", *at(host)]
    plain = await run(*sent)
    document = await run(*sent, "--json")
    assert (plain.status, plain.stdout, plain.stderr) == (0, "published to counter/some\n", "")
    assert document.document == {"topic": "numbers/some", "agents": ["counter/some"], "handled": True, "hint": None}
    assert instance_of(host, "counter/some").total == 10


async def test_publish_to_a_topic_without_subscribers_fails(cluster: Cluster) -> None:
    host = await cluster.host(Counter)
    sent = ["publish", "numbers", '{"value": 5}', "--message-type", "Number", "--wait", "0.1", "--json"]
    done = await run(*sent, *at(host))
    assert done.status == 1
    assert "subscribes to topic type 'numbers'" in done.stderr
    assert "subscribes to topic type 'numbers'" in done.document["error"]["text"]


async def test_publish_waits_for_a_subscriber_that_comes(cluster: Cluster) -> None:
    host = await cluster.host(Counter)
    async with command("publish", "late", '{"value": 1}', "--message-type", "Number", *at(host)) as process:
        await eventually(host.peers)
        await host.add_subscription(TypeSubscription("late", "counter"))
        done = await ended(process)
    assert done.status == 0, done.stderr
    assert instance_of(host, "counter/default").total == 1


async def test_publish_does_not_wait_longer_than_it_is_told_for_handlers(cluster: Cluster) -> None:
    host = await cluster.host(Patient)
    await host.add_subscription(TypeSubscription("texts", "patient"))
    sent = ["publish", "texts", '{"content": ""}', "--message-type", "Text", "--timeout", "0.1", "--json"]
    done = await run(*sent, *at(host))
    assert done.status == 0
    assert done.document["handled"] is False
    instance_of(host, "patient/default").go_on.set()


async def test_publish_of_a_type_that_a_subscriber_does_not_read_says_so(cluster: Cluster) -> None:
    host = await cluster.host(Counter)
    await host.add_subscription(TypeSubscription("numbers", "counter"))
    done = await run("publish", "numbers", "{}", "--message-type", "Numbr", "--json", *at(host))
    assert done.status == 0
    assert "does not say that it reads 'Numbr'" in done.document["hint"]
