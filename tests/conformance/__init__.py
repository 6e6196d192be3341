"""AutoGen's behaviour, written as tests that its own runtime and ours both pass."""
