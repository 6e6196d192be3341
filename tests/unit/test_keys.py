"""Cluster keys: their form, and the derivation of SPEC.md section 11."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmqagents.errors import ConfigError
from zmqagents.keys import MAX_CHARS, MIN_CHARS, check_key, curve_secret, hkdf_sha256, make_key

KEY = make_key()

# RFC 5869, appendix A.1 to A.3: material, salt, info, output.
VECTORS = [
    (
        "0b" * 22,
        "000102030405060708090a0b0c",
        "f0f1f2f3f4f5f6f7f8f9",
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        bytes(range(0x50)).hex(),
        bytes(range(0x60, 0xB0)).hex(),
        bytes(range(0xB0, 0x100)).hex(),
        (
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da3275600c2f09b83"
            "67793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"
        ),
    ),
    (
        "0b" * 22,
        "",
        "",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
]


@pytest.mark.parametrize(("material", "salt", "info", "output"), VECTORS)
def test_hkdf_gives_what_rfc_5869_says(material: str, salt: str, info: str, output: str) -> None:
    wanted = bytes.fromhex(output)
    made = hkdf_sha256(
        bytes.fromhex(material), salt=bytes.fromhex(salt), info=bytes.fromhex(info), size_bytes=len(wanted)
    )
    assert made == wanted


@pytest.mark.parametrize("size_bytes", [0, 255 * 32 + 1])
def test_hkdf_refuses_lengths_that_it_does_not_have(size_bytes: int) -> None:
    with pytest.raises(ValueError, match="8,160"):
        hkdf_sha256(b"x", salt=b"", info=b"", size_bytes=size_bytes)


def test_secret_is_that_of_the_specification() -> None:
    made = curve_secret("0123456789abcdef0123456789abcdef", "default")
    assert made.hex() == "d4d556fe63c1914ea5a6e29028d79c0bc18184ee199b8805efb7557f1427d7d7"


def test_secret_depends_on_key_and_cluster() -> None:
    assert len({curve_secret(key, cluster) for key in (KEY, make_key()) for cluster in ("one", "two")}) == 4


def test_new_keys_are_accepted_and_differ() -> None:
    assert check_key(KEY, "cluster_key") == KEY != make_key()


@pytest.mark.parametrize("key", ["x" * MIN_CHARS, "x" * MAX_CHARS, "correct-horse-battery-staple-and-more"])
def test_long_texts_of_ones_own_are_accepted(key: str) -> None:
    assert check_key(key, "cluster_key") == key


@given(
    place=st.integers(5, len(KEY) - 1),
    character=st.sampled_from(string.ascii_letters + string.digits + "-_=. é"),
)
def test_key_with_one_wrong_character_is_refused_and_not_shown(place: int, character: str) -> None:
    typed = KEY[:place] + character + KEY[place + 1 :]
    if typed == KEY:
        return
    with pytest.raises(ConfigError, match="copy it again") as caught:
        check_key(typed, "cluster_key")
    assert KEY[10:20] not in str(caught.value)


@pytest.mark.parametrize(
    "typed",
    [KEY[:-1], KEY + "A", KEY + "\n", KEY[:9] + KEY[10] + KEY[9] + KEY[11:] + " "],
    ids=["shorter", "longer", "with a line's end", "two swapped"],
)
def test_key_that_is_not_whole_is_refused(typed: str) -> None:
    with pytest.raises(ConfigError, match="copy it again"):
        check_key(typed, "cluster_key")


@pytest.mark.parametrize(
    "value", [None, 5, b"x" * 40, "", "short-secret", "x" * 2_000, "with white space " * 3, "é" * 40]
)
def test_what_is_no_key_is_refused_says_what_to_do_and_is_not_shown(value: object) -> None:
    with pytest.raises(ConfigError, match=r"the_setting .*`zmqagents keygen`") as caught:
        check_key(value, "the_setting")
    assert not value or str(value) not in str(caught.value)
