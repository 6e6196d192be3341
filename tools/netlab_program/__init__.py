"""Networks made of Linux network namespaces, for tests and for trying things out; started by tools/netlab."""
