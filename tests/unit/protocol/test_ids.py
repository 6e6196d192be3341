"""Identifiers of the wire protocol."""

from __future__ import annotations

import pytest

from zmqagents.protocol.ids import ANYONE, agent_type_of, is_node_id, make_node_id, short


@pytest.mark.parametrize("first", [0, 1, 2, 127, 128, 254, 255])
def test_node_id_never_begins_with_zero_when_made_of_random_bytes(first: int) -> None:
    node_id = make_node_id(bytes([first]) + bytes(range(15)))

    assert is_node_id(node_id)
    assert node_id[1:] == bytes(range(15))


def test_node_ids_differ_when_their_random_bytes_do() -> None:
    made = {make_node_id(bytes(15 - at) + b"\x07" + bytes(at)) for at in range(16)}

    assert len(made) == 16


@pytest.mark.parametrize("length", [0, 15, 17])
def test_node_id_is_refused_when_it_is_made_of_another_number_of_bytes(length: int) -> None:
    with pytest.raises(ValueError, match=f"16 random bytes, got {length}"):
        make_node_id(b"\x01" * length)


@pytest.mark.parametrize(
    "value",
    [ANYONE, b"\x00" + b"\x01" * 15, b"\x01" * 15, b"\x01" * 17, b"", "a" * 16, bytearray(b"\x01" * 16), None, 1],
)
def test_is_node_id_says_no_when_no_node_can_have_the_id(value: object) -> None:
    assert not is_node_id(value)


def test_short_form_is_the_first_eight_digits() -> None:
    assert short(bytes.fromhex("a1b2c3d4e5" + "00" * 11)) == "a1b2c3d4"


@pytest.mark.parametrize(
    ("agent", "agent_type"), [("worker/default", "worker"), ("worker/a/b", "worker"), ("worker/", "worker")]
)
def test_agent_type_is_what_stands_before_the_first_slash(agent: str, agent_type: str) -> None:
    assert agent_type_of(agent) == agent_type
