"""What ``zmqagents doctor`` checks: each check is a function that looks at one thing and returns one finding."""
