"""``trainworthy estimate`` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from estimate.hand_made import chain
from report import cluster_tapes
from report.tape_builder import MIB, small_training
from trainworthy.cli.main import main
from trainworthy.cli.rehearse import Request
from trainworthy.inspect import RehearsalResult, summarize

EXAMPLE = Path(__file__).parents[2] / "examples" / "mlp_plain_loop.py"


@pytest.fixture
def tape(tmp_path: Path) -> str:
    path = tmp_path / "run.twt"
    chain(layers=4).save(path)
    return str(path)


def run(*words: str) -> int:
    return main(["estimate", *words])


def test_a_tape(tape: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--tape", tape, "--price-per-hour", "2.5", "--tokens-per-step", "8192", "--tokens", "1e9") == 0
    out = capsys.readouterr().out
    assert out.startswith("VERDICT  FITS")
    assert "1e+09 tokens" in out


def test_formats_and_files(tape: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, data = tmp_path / "page.html", tmp_path / "data.json"
    assert run("--tape", tape, "--format", "json", "--html", str(page), "--json", str(data)) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(data.read_text())
    assert printed["schema_version"] == 1
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_several_machines(tape: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--tape", tape, "--gpu", "h100-sxm-80gb,t4-pcie-16gb", "--format", "json") == 0
    fast, slow = json.loads(capsys.readouterr().out)["results"]
    assert fast["step_time_s"]["expected"] < slow["step_time_s"]["expected"]


def test_tapes_of_a_cluster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = []
    for rank in range(4):
        path = tmp_path / f"run.rank{rank}.twt"
        cluster_tapes.pipeline(rank).save(path)
        paths += ["--tape", str(path)]
    assert run(*paths, "--gpu", "h100-sxm-80gb", "--format", "json", "--what-ifs", "none") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["world_size"], len(found["ranks"])) == (4, 4)


@pytest.mark.slow
def test_a_script_is_rehearsed_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--format", "json", "--what-ifs", "tape", str(EXAMPLE)) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["script"] == str(EXAMPLE)
    assert found["step_time_s"]["expected"] > 0
    assert found["samples_per_s"]["expected"] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Nothing is given"),
        (["--model", "llama3-8b", "--runs", "x.csv"], "Both --model and --runs"),
        (["--model", "no-such-model"], "No model is known"),
        (["--model", "llama3-8b", "--gpu", "no-such-gpu"], "No data for GPU"),
        (["--model", "llama3-8b", "--tp", "-2"], "--tp is -2"),
        (["--model", "llama3-8b", "--precision", "fp7"], "Unknown precision"),
        (["--model", "llama3-8b", "--world-size", "8", "--global-batch", "3"], "no multiple"),
        (["--runs", "x.csv"], "Where to write"),
        (["--runs", "x.csv", "--output", "x.csv"], "would be overwritten"),
        (["--runs", "no-such.csv", "--output", "y.csv"], "Cannot be read"),
        (["--tape", "no-such.twt"], "No such file"),
    ],
)
def test_wrong_use_says_what_to_do(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--gpu", "h1000"], "No data for GPU"),
        (["--tokens", "1e30"], "more than"),
        (["--tokens", "-5"], "--tokens is -5"),
        (["--price-per-hour", "-1"], "--price-per-hour is -1"),
        (["--workers", "-1"], "--workers is -1"),
        (["--link", "carrier-pigeon"], "No data for link"),
        (["--network-gbit-s", "-4"], "Gbit/s"),
        (["--world-size", "8"], "needs a script"),
    ],
)
def test_wrong_values_beside_a_tape(words: list[str], said: str, tape: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--tape", tape, *words) == 2
    assert said in capsys.readouterr().err


def test_numbers_are_numbers(tape: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("--tape", tape, "--tokens", "nan")
    assert "not a finite number" in capsys.readouterr().err


def test_a_model_and_a_layout(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model", "llama3-8b", "--world-size", "64", "--tp", "2", "--format", "json", "--price-per-hour", "2"]
    assert run(*words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["source"] == "model"
    assert 0.2 < found["mfu"]["expected"] < 0.7
    assert found["fits"] == "yes"
    assert sum(found["bound_by"].values()) == pytest.approx(1)
    assert found["totals"]["money"]["expected"] > 0


def test_a_table_of_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, out = tmp_path / "runs.csv", tmp_path / "out.csv"
    table.write_text(
        "id,model,layers,hidden,ffn_hidden,heads,vocab,seq_len,global_batch,micro_batch,gpu,num_gpus,tp,pp,dp,step_time_s\n"
        "mine-1,own,32,4096,16384,32,50257,2048,64,1,A100 80GB SXM,8,1,1,8,5.0\n"
        "mine-2,own,32,4096,16384,32,50257,2048,-64,1,A100 80GB SXM,8,1,1,8,\n"
    )
    assert run("--runs", str(table), "--output", str(out)) == 0
    lines = out.read_text().splitlines()
    assert "predicted_step_time_s" in lines[0]
    assert "no prediction" in lines[2]
    assert capsys.readouterr().out


def test_the_largest_batch_and_the_longest_sequence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Memory grows by 64 MiB a sample in each direction; 16 GiB are there."""
    script = tmp_path / "train.py"
    script.write_text("parser.add_argument('--batch-size'); parser.add_argument('--seq')")

    def rehearse(self: Request, gpu: str | None, args: tuple[str, ...] | None = None) -> RehearsalResult:
        words = self.args if args is None else args
        size = max(int(words[words.index(name) + 1]) for name in ("--batch-size", "--seq") if name in words)
        loading = [{"workers": 0, "batch_size": size, "batches": 2, "seconds": [0.0, 0.0], "dataset_size": 10}]
        return summarize(small_training(activation_bytes=size * 64 * MIB, loading=loading, gpu="t4-pcie-16gb"))

    monkeypatch.setattr(Request, "rehearse", rehearse)
    words = ["--gpu", "t4-pcie-16gb", "--format", "json", "--find-largest-batch", "--find-longest-sequence=--seq"]
    assert run(*words, str(script), "--batch-size", "4", "--seq", "4") == 0
    found = json.loads(capsys.readouterr().out)
    for name in ("batch", "sequence"):
        search = found["largest_batch" if name == "batch" else "longest_sequence"]
        fits = {each["batch"]: each["verdict"] == "fits" for each in search["runs"]}
        assert fits[search[name]]
        assert not any(fits[size] for size in fits if size > search[name])
        assert search["step_time_s"] > 0
    assert any(w["origin"] == "rehearsed" and w["title"].startswith("batch 8") for w in found["what_ifs"])
