"""Moving bytes: sockets, their in-memory twin, and the shell that drives the protocol core over them."""
