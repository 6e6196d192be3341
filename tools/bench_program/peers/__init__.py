"""One module per peer: how its sides start, and what one call and one event are to it."""
