from __future__ import annotations

import pickle

import pytest

from trainworthy import errors
from trainworthy.errors import (
    MissingTorchError,
    ScriptError,
    ShapeError,
    TapeError,
    TapeVersionError,
    TrainError,
    TrainworthyError,
    UsageError,
)

ALL = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, TrainworthyError)]


def test_a_message_says_what_where_and_what_to_do() -> None:
    error = UsageError("--steps is 0.", where="--steps", fix="Pass 1 or more.")
    assert str(error) == "--steps is 0.\n  where: --steps\n  fix:   Pass 1 or more."
    assert (error.message, error.where, error.fix) == ("--steps is 0.", "--steps", "Pass 1 or more.")


def test_where_and_fix_are_left_out_when_unknown() -> None:
    assert str(TapeError("Truncated.")) == "Truncated."


@pytest.mark.parametrize("kind", ALL)
def test_the_tree_is_drawn_in_the_module_docstring(kind: type[TrainworthyError]) -> None:
    assert errors.__doc__ is not None
    assert kind.__name__ in errors.__doc__
    assert kind.__doc__


@pytest.mark.parametrize("kind", ALL)
def test_exit_codes(kind: type[TrainworthyError]) -> None:
    assert kind.exit_code == (1 if kind in (ScriptError, ShapeError, TrainError) else 2)


def test_a_script_error_points_at_a_line() -> None:
    error = ScriptError("ZeroDivisionError: division by zero", kind="exception", path="train.py", line=7)
    assert error.where == "train.py:7"
    assert (error.kind, error.path, error.line) == ("exception", "train.py", 7)
    assert ScriptError("Timed out.", kind="timeout", path="train.py").where == "train.py"
    assert ScriptError("Timed out.", kind="timeout").where is None


def test_missing_torch_names_the_extra() -> None:
    assert "trainworthy[torch]" in str(MissingTorchError("Rehearsing a script"))


@pytest.mark.parametrize(
    "error",
    [
        UsageError("a", where="b", fix="c"),
        TapeVersionError("a", where="b"),
        MissingTorchError("x"),
        ScriptError("a", kind="timeout", path="b", line=3, fix="c"),
    ],
)
def test_errors_survive_pickling(error: TrainworthyError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert vars(back) == vars(error)
    assert str(back) == str(error)
