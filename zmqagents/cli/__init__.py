"""The command line: ``zmqagents --help``."""
