"""What ./tools/demo runs: a conductor that starts two workers and a coordinator and shows what they report."""
