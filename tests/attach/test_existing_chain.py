"""The example of an existing chain: its own command line, over real HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from examples.existing_chain import main

if TYPE_CHECKING:
    import pytest


def test_questions_are_answered_until_the_budget_is_spent(capsys: pytest.CaptureFixture[str]) -> None:
    main([*["Which trees bear acorns?"] * 8, "--usd", "0.00015", "--local"])
    output = capsys.readouterr().out
    answered, refused = output.count("Oaks bear acorns."), output.count("Not asked: Budget 'session'")
    assert answered >= 1
    assert refused >= 1
    assert answered + refused == 8
    assert f"{answered} model calls, $0.0000" in output


def test_an_ample_budget_refuses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    main(["Which trees bear acorns?", "--local"])
    assert "1 model calls, $0.0000" in capsys.readouterr().out
