"""Where agents are active, and how messages get there (SPEC.md section 8.6).

``locations``: where a sender takes an agent to be. ``arrivals``: what a node does with a message that came for an
agent. ``claims``: what a node knows, as the home of agents, about where they are active. ``moves``: how an agent goes
to another node. ``routes``: events, which keep their order on the way. ``residents``: the table of the agents that are
active here, on which all of them work.
"""
