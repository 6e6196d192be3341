"""What commands print."""

from __future__ import annotations

import asyncio
import json
import sys

import pytest
import typer

from zmqagents.cli import session
from zmqagents.cli.output import print_json, print_table, printable
from zmqagents.cli.session import CommandError, Hinted
from zmqagents.errors import ConfigError, RemoteCallError


def test_control_characters_of_others_do_not_reach_the_terminal() -> None:
    assert printable("worker\x1b[2J\r\n\x9b1m é") == "worker\\x1b[2J\\r\\n\\x9b1m é"
    assert printable("one\n\ttwo\x07", lines=True) == "one\n\ttwo\\x07"


def test_table_is_aligned_text_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("NAME", "STATE"), [("a\nb", "up"), ("longer", "[red]busy")])
    assert capsys.readouterr().out == "NAME    STATE\na\\nb    up\nlonger  [red]busy\n"


def test_table_is_drawn_on_a_terminal_without_taking_texts_for_markup(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_table(("NAME", "STATE"), [("worker", "[red]busy")])
    drawn = capsys.readouterr().out
    assert "│" in drawn or "┃" in drawn
    assert "[red]busy" in drawn


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "é\x1b"})
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert json.loads(printed) == {"name": "é\x1b"}


def raising(error: BaseException) -> int:
    """The exit status of a command that ends with the exception."""

    async def work() -> None:
        raise error

    with pytest.raises(typer.Exit) as caught:
        session.run(work, as_json=False, verbose=False)
    return caught.value.exit_code


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ValueError("no"), 1, "ValueError: no\n"),
        (asyncio.CancelledError(), 1, "CancelledError\n"),
        (ConfigError("port=x"), 2, "ConfigError: port=x\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (CommandError("nobody"), 1, "nobody\n"),
        (Hinted(ValueError("no"), "try this"), 1, "ValueError: no\ntry this\n"),
        (
            RemoteCallError("Odd", "x", remote_traceback="T"),
            1,
            "RemoteCallError: Odd: x\n(the remote traceback: --verb",
        ),
    ],
)
def test_how_a_command_fails_is_told_and_is_its_exit_status(
    capsys: pytest.CaptureFixture[str], error: BaseException, status: int, said: str
) -> None:
    assert raising(error) == status
    printed = capsys.readouterr()
    assert printed.err.startswith(said)
    assert printed.out == ""
