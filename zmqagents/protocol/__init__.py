"""The wire protocol of SPEC.md as pure state machines: no sockets, no clock, no randomness, no logging."""
