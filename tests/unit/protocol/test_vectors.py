"""The test vectors drive the decoders and, where they are valid, the encoders."""

from __future__ import annotations

import runpy
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.protocol.vectors import FOLDER, VALID_FILES, Vector, decode, encode, kind_name, load
from zmqagents.errors import RemoteProtocolError
from zmqagents.protocol import codec
from zmqagents.protocol import frames as f

TOOL = Path(__file__).parents[3] / "tools" / "make_vectors"
VALID = [vector for file in VALID_FILES for vector in load(file)]
MALFORMED = load("malformed")
ENCODABLE = [vector for vector in VALID if not vector.decode_only]


@pytest.mark.parametrize("vector", VALID, ids=str)
def test_decoder_gives_the_value_of_a_valid_vector(vector: Vector) -> None:
    assert decode(vector.form, vector.parts) == vector.value


@pytest.mark.parametrize("vector", ENCODABLE, ids=str)
def test_encoder_gives_the_bytes_of_a_valid_vector(vector: Vector) -> None:
    assert encode(vector.form, vector.value) == vector.parts


@pytest.mark.parametrize("vector", MALFORMED, ids=str)
def test_decoder_refuses_a_malformed_vector_with_its_code(vector: Vector) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode(vector.form, vector.parts)

    assert caught.value.code.name == vector.error
    assert len(str(caught.value)) < 400, "what a peer sends can't fill our log"


def test_vectors_hold_every_kind_at_least_twice() -> None:
    envelopes = [vector.value["frames"] for vector in ENCODABLE if vector.form == "envelope"]
    kinds = Counter(frame["kind"] for frames in envelopes for frame in frames)
    kinds.update(vector.value["kind"] for vector in ENCODABLE if vector.form == "gossip")

    wanted = {kind_name(kind) for kind in (*f.KINDS, codec.Heartbeat, codec.Delta)}
    assert {name for name, count in kinds.items() if count >= 2} == wanted


def test_malformed_vectors_hold_every_code_that_a_decoder_gives() -> None:
    codes = {vector.error for vector in MALFORMED}

    assert codes == {"MALFORMED", "TOO_LARGE", "UNKNOWN_KIND", "BAD_FIELD", "MISSING_PAYLOAD"}


@pytest.fixture
def make_vectors() -> Callable[[list[str]], int]:
    """What ``tools/make_vectors`` runs."""
    main: Callable[[list[str]], int] = runpy.run_path(str(TOOL), run_name="make_vectors")["main"]
    return main


def test_make_vectors_agrees_with_the_committed_files(make_vectors: Callable[[list[str]], int]) -> None:
    assert make_vectors(["--check"]) == 0


def test_make_vectors_finds_and_mends_bytes_that_differ_from_their_value(
    make_vectors: Callable[[list[str]], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    control = tmp_path / "control.json"
    whole = control.read_text(encoding="utf-8")
    control.write_text(whole.replace('"token": 65535', '"token": 65534'), encoding="utf-8")

    assert make_vectors(["--check", "--folder", str(tmp_path)]) == 1
    assert "control.json" in capsys.readouterr().out
    assert make_vectors(["--folder", str(tmp_path)]) == 0
    assert make_vectors(["--check", "--folder", str(tmp_path)]) == 0
    assert control.read_text(encoding="utf-8") != whole
