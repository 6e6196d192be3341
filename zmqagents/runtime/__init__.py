"""AutoGen's ``AgentRuntime`` over the protocol: the only part of zmqagents that imports autogen_core."""
