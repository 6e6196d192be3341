"""What ./tools/bench runs: a conductor that measures runtimes beside each other, each side a process of its own."""
