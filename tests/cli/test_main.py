"""The command line: parsing, exit codes, and what it costs to ask for help."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

import trainworthy
from trainworthy.cli import rehearse
from trainworthy.cli.main import COMMANDS, main


def words(*line: str) -> tuple[list[str], str | None, list[str]]:
    parser = argparse.ArgumentParser()
    rehearse._add_options(parser)
    return rehearse.split_words(parser, line)


def test_everything_after_the_script_is_the_scripts() -> None:
    assert words("--gpu", "a", "train.py", "--gpu", "b", "-m") == (["--gpu", "a"], "train.py", ["--gpu", "b", "-m"])
    assert words("--steps=3", "-m", "pkg.train", "--lr", "1") == (
        ["--steps=3", "-m", "pkg.train"],
        "pkg.train",
        ["--lr", "1"],
    )
    assert words("--exit-zero", "--", "train.py", "-x") == (["--exit-zero"], "train.py", ["-x"])
    assert words("--gpu", "a") == (["--gpu", "a"], None, [])


def test_option_of_find_largest_batch_is_not_the_script() -> None:
    assert words("--find-largest-batch", "train.py") == (["--find-largest-batch"], "train.py", [])
    assert words("--find-largest-batch", "bs", "train.py", "bs=4")[1:] == ("train.py", ["bs=4"])
    assert words("--find-largest-batch", "--gpu", "a", "train.py")[1] == "train.py"
    assert words("--find-largest-batch=--bs", "train.py")[1] == "train.py"


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_every_command_has_help(command: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main([*([command] if command else []), "--help"])
    assert done.value.code == 0
    assert "trainworthy" in capsys.readouterr().out


@pytest.mark.parametrize(("line", "said"), [
    (["rehearse", "no.py"], "There is no file 'no.py'"),
    (["rehearse", "--gpu", "h1000", "no.py"], "Known: "),
    (["rehearse", "--gpu", ",", "no.py"], "names no GPU"),
    (["rehearse", "--data", "float33[3]", __file__], "'float33' is not a dtype"),
    (["rehearse", "--data", "3,4", __file__], "is not a tensor specification"),
    (["rehearse", "--time-limit", "0", __file__], "time limit"),
    (["rehearse", "--steps", "0", __file__], "at least one step"),
    (["compare", __file__, __file__], "is not JSON"),
    (["report", "no.twt"], "no.twt"),
    (["report", __file__], "tape"),
    (["inspect", "no.py:Model", "--input-size", "1"], "There is no file 'no.py'"),
    (["inspect", "json:decoder", "--input-size", "1"], "is module, not a torch.nn.Module"),
])  # fmt: skip
def test_wrong_use_is_one_message_and_exit_code_two(
    line: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "Traceback" not in err


def test_argparse_mistakes_leave_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    for line in (
        ["rehearse"],
        ["rehearse", "--no-such", "x.py"],
        ["no-such"],
        ["rehearse", "--memory-limit", "ten", "x"],
    ):
        with pytest.raises(SystemExit) as done:
            main(line)
        assert done.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_gpus_lists_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpus"]) == 0
    assert "h100-sxm-80gb" in capsys.readouterr().out
    assert main(["gpus", "--format", "json"]) == 0
    assert any(row["id"] == "h100-sxm-80gb" for row in json.loads(capsys.readouterr().out))


def test_inspect_prints_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my_models.py").write_text("import torch\ndef net():\n    return torch.nn.Linear(30, 20)\n")
    path = f"{tmp_path / 'my_models.py'}:net"
    assert main(["inspect", path, "--input-size", "8,30"]) == 0
    out = capsys.readouterr().out
    assert "[8, 20]" in out
    assert "620" in out
    assert main(["inspect", path, "--input-size", "8,30", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["total_mult_adds"] == 8 * 30 * 20


@pytest.mark.parametrize("command", [*COMMANDS])
def test_asking_imports_next_to_nothing(command: str) -> None:
    """What makes a start slow is what it imports; benchmarks/speed.py has the seconds."""
    code = (
        "import sys; import trainworthy; package = set(sys.modules)\n"
        "from trainworthy.cli.main import main\n"
        f"try: main(['{command}', '--help'])\n"
        "except SystemExit: pass\n"
        "print(len([m for m in package if m.startswith('trainworthy')]), *sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    own, *modules = done.stderr.split()
    assert int(own) <= 3
    assert not {"torch", "numpy", "rich", "asyncio", "multiprocessing"} & set(modules)


def test_public_names_are_sorted_and_there() -> None:
    assert trainworthy.__all__ == sorted(trainworthy.__all__)
    for name in trainworthy.__all__:
        assert getattr(trainworthy, name) is not None
    assert callable(trainworthy.inspect)
    with pytest.raises(AttributeError):
        trainworthy.no_such_name  # noqa: B018
