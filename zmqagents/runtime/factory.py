"""One call that makes a runtime from what a deployment gives: arguments, or the environment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from autogen_core import InterventionHandler
from opentelemetry.trace import TracerProvider
from typing_extensions import Unpack

from zmqagents.config import Settings
from zmqagents.runtime.publishing import DeadLetter
from zmqagents.runtime.runtime import ZmqAgentRuntime


def create_distributed_runtime(  # type: ignore[misc]  # these two are of Settings too, taken here by position
    broker_url: str | None = None,
    instance_id: str | None = None,
    *,
    intervention_handlers: Sequence[InterventionHandler] | None = None,
    tracer_provider: TracerProvider | None = None,
    ignore_unhandled_exceptions: bool = True,
    exceptions: Iterable[type[BaseException]] = (),
    on_dead_letter: Callable[[DeadLetter], None] | None = None,
    **settings: Unpack[Settings],
) -> ZmqAgentRuntime:
    """A runtime, not yet started; awaiting it gives the runtime, ``async with`` starts it.

    ``broker_url`` names the forwarders to attach to; without it there is no broker. The environment variables
    ``BROKER_URL`` and ``INSTANCE_ID`` fill in what isn't passed; the other settings are those of ``RuntimeConfig``.
    Raises ConfigError, saying what to write.
    """
    if broker_url is not None:
        settings["broker_url"] = broker_url
    if instance_id is not None:
        settings["instance_id"] = instance_id
    return ZmqAgentRuntime(
        intervention_handlers=intervention_handlers,
        tracer_provider=tracer_provider,
        ignore_unhandled_exceptions=ignore_unhandled_exceptions,
        exceptions=exceptions,
        on_dead_letter=on_dead_letter,
        **settings,
    )
