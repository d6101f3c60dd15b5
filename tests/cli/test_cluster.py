"""Ranks of a virtual cluster on the command line: options, exit codes, files, progress."""

from __future__ import annotations

from pathlib import Path

import pytest

from report.cluster_tapes import RankBuilder, ddp, fsdp
from trainworthy import load_tape
from trainworthy.cli.main import main
from trainworthy.cli.progress import ProgressLine
from trainworthy.cli.rendering import for_rank


@pytest.mark.parametrize(("options", "said"), [
    (["--world-size", "0"], "world of 0 ranks"),
    (["--world-size", "12"], "do not fill nodes of 8 GPUs"),
    (["--world-size", "64", "--gpus-per-node", "7"], "do not fill nodes of 7 GPUs"),
    (["--world-size", "64", "--rank", "64"], "no rank 64 in a world of 64"),
    (["--world-size", "64", "--ranks", "few"], "'few' is not a rank"),
    (["--world-size", "64", "--ranks", "all", "--rank", "0"], "Both --rank and --ranks"),
    (["--rank", "0"], "Add --world-size N"),
    (["--gpus-per-node", "8"], "Add --world-size N"),
])  # fmt: skip
def test_wrong_use_is_one_message_and_exit_code_two(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rehearse", *options, __file__]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "Traceback" not in err


@pytest.mark.parametrize("word", ["--world-size", "--rank", "--gpus-per-node"])
def test_numbers_are_numbers(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["rehearse", word, "many", __file__])
    assert done.value.code == 2
    assert "invalid int value: 'many'" in capsys.readouterr().err


def test_tapes_of_several_ranks_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(tmp_path / f"run.rank{rank}.twt") for rank in (0, 8)]
    for path, rank in zip(paths, (0, 8), strict=True):
        fsdp(rank).save(path)
    assert main(["report", *paths]) == 0
    assert "the fullest of 2 rehearsed of 64 test-gpu (rank 0; rank 8 alike)" in capsys.readouterr().out
    again = [str(tmp_path / f"again.rank{rank}.twt") for rank in (0, 8)]
    assert main(["report", *paths, "--tape", str(tmp_path / "again.twt")]) == 0
    for path, other in zip(paths, again, strict=True):
        saved = load_tape(other)
        assert saved.notes.pop("allocator")["peak_reserved_bytes"] > 0  # worked out by the first report
        assert saved == load_tape(path)


def test_ranks_that_would_hang_leave_with_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def branch(tape: RankBuilder, step: int) -> None:
        tape.call("barrier", 0, step=step, line=50)

    ddp(0, before_step=branch).save(tmp_path / "0.twt")
    ddp(1).save(tmp_path / "1.twt")
    words = ["report", str(tmp_path / "0.twt"), str(tmp_path / "1.twt")]
    assert main(words) == 1
    assert capsys.readouterr().out.startswith("VERDICT  WOULD HANG on 8 GPUs at train.py:50\n")
    assert main([*words, "--exit-zero"]) == 0


def test_tapes_of_different_runs_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ddp(0).save(tmp_path / "0.twt")
    fsdp(1).save(tmp_path / "1.twt")
    assert main(["report", str(tmp_path / "0.twt"), str(tmp_path / "1.twt")]) == 2
    assert "not those of different ranks of one cluster" in capsys.readouterr().err


def test_names_of_files_of_ranks() -> None:
    assert for_rank("out/run.twt", 3) == "out/run.rank3.twt"
    assert for_rank("log", 0) == "log.rank0"


def test_progress_says_which_ranks_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    line = ProgressLine(label="gpu")
    assert line.text({"state": "starting", "ops": 0, "steps": 0}) == "gpu · starting"
    line.text({"state": "starting", "ops": 0, "steps": 0, "rank": 8})
    both = line.text({"state": "running", "ops": 1234, "steps": 1, "rank": 0})
    assert both == "gpu · rank 0: running · steps done: 1 · 1,234 operations · rank 8: starting"
    assert line.text({"state": "done", "ops": 0, "steps": 0, "rank": 0}) == "gpu · ranks done: 1 · rank 8: starting"
    monkeypatch.setenv("COLUMNS", "24")
    assert len(line.text({"state": "running", "ops": 10**9, "steps": 1, "rank": 8})) == 23
