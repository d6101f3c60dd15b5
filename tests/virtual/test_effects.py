"""A rehearsed script has no effect outside; one script tries everything and says what it saw."""

from __future__ import annotations

# The script under test is dense on purpose:
# ruff: noqa: E501
import json
import os
import socket
from pathlib import Path
from types import ModuleType

import pytest

from support_scripts import tree_hash
from trainworthy._api.rehearse import rehearse
from trainworthy.inspect import RehearsalResult
from trainworthy.virtual.effects_trackers import StandInModule, _draw_no_graph

SCRIPT = """
import glob, json, os, pathlib, shutil, socket, sqlite3, subprocess, sys, tempfile, numpy as np, torch
seen = {}
open("written.txt", "w").write("mine"); seen["written"] = open("written.txt").read()
open("kept.txt", "a").write(" and more"); seen["appended"] = pathlib.Path("kept.txt").read_text()
os.makedirs("runs/one"); pathlib.Path("runs/one/log").write_text("l"); seen["walked"] = sorted(map(str, pathlib.Path("runs").rglob("*")))
torch.save({"w": torch.ones(2)}, "runs/model.pt"); seen["loaded"] = torch.load("runs/model.pt")["w"].tolist()
np.save("runs/array.npy", np.arange(3)); seen["array"] = np.load("runs/array.npy").tolist()
os.replace("runs/model.pt", "runs/best.pt"); seen["globbed"] = sorted(glob.glob("runs/*"))
os.remove("kept2.txt"); seen["removed"] = os.path.exists("kept2.txt")
shutil.copy("data/set.bin", "data/copy.bin"); shutil.rmtree("data"); seen["data"] = os.path.isdir("data")
db = sqlite3.connect("results.db"); db.execute("create table t (x)"); db.commit(); db.close(); seen["db"] = os.path.exists("results.db")
os.symlink("one", "runs/latest"); seen["link"] = os.path.isdir("runs/latest")
pathlib.Path("settings_of_run.py").write_text("rate = 0.5"); import settings_of_run; seen["module"] = settings_of_run.rate
import importlib.util; spec = importlib.util.spec_from_file_location("by_name", "settings_of_run.py"); by_name = importlib.util.module_from_spec(spec); spec.loader.exec_module(by_name); seen["by_name"] = by_name.rate
import safetensors.numpy, tokenizers
safetensors.numpy.save_file({"w": np.ones(2)}, "runs/w.safetensors"); seen["tensors"] = safetensors.numpy.load_file("runs/w.safetensors")["w"].tolist()
pathlib.Path("runs/vocab.txt").write_text("[UNK]\\na\\nb"); words = tokenizers.Tokenizer(tokenizers.models.WordPiece.from_file("runs/vocab.txt"))
words.model.save("kept_folder"); seen["vocab"] = os.path.exists("kept_folder/vocab.txt"); words.save("runs/words.json"); seen["tokens"] = tokenizers.Tokenizer.from_file("runs/words.json").encode("b").ids; os.remove("runs/words.json"); os.remove("runs/vocab.txt"); os.remove("runs/w.safetensors")
with tempfile.TemporaryDirectory() as folder: seen["temporary"] = folder.startswith(os.environ["TMPDIR"])
seen["system"] = os.system("touch made_by_system"); seen["run"] = subprocess.run(["touch", "made_by_run"]).returncode
seen["shell"] = subprocess.check_output("rm -rf data; echo done", shell=True).decode()
seen["uname"] = bool(subprocess.check_output(["uname"]))
seen["smi"] = subprocess.check_output(["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]).decode()
try: socket.create_connection(("192.0.2.1", 80), timeout=5); seen["network"] = "connected"
except ConnectionError as error: seen["network"] = str(error)
server = socket.create_server(("127.0.0.1", 0)); socket.create_connection(server.getsockname()).close(); seen["local"] = True
try: os.kill(os.getppid(), 0); seen["kill"] = "sent"
except PermissionError as error: seen["kill"] = "refused"
import ctypes
seen["c"] = ctypes.CDLL(None).creat(os.path.abspath("made_by_c").encode(), 0o600)
import wandb
run = wandb.init(project="p", config={"lr": 0.1}); wandb.log({"loss": 1.0}); seen["wandb"] = wandb.config.lr
from torch.utils.tensorboard import SummaryWriter
writer = SummaryWriter("tb"); writer.add_scalar("loss", torch.ones(1).cuda(), 0); writer.close()
os.chdir("runs"); open("inner.txt", "w").write("i"); seen["inner"] = sorted(os.listdir(".")); os.chdir("..")
model = torch.nn.Linear(2, 2).cuda(); optimizer = torch.optim.Adam(model.parameters())
for _ in range(9):
    model(torch.ones(1, 2).cuda()).sum().backward(); optimizer.step()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, "checkpoint.pt")
    optimizer.load_state_dict(torch.load("checkpoint.pt")["optimizer"])
    print("SEEN" + json.dumps(seen), flush=True)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("user")
    (folder / "train.py").write_text(SCRIPT)
    (folder / "kept.txt").write_text("yours")
    (folder / "kept2.txt").write_text("yours too")
    (folder / "data").mkdir()
    (folder / "kept_folder").mkdir()
    (folder / "kept_folder" / "mine.txt").write_text("mine")
    (folder / "data" / "set.bin").write_bytes(b"\0" * 100)
    return folder


@pytest.fixture(scope="module")
def answer(folder: Path) -> tuple[RehearsalResult, dict[str, object]]:
    logs: list[str] = []
    before, here = tree_hash(folder), Path.cwd()
    os.chdir(folder)
    try:
        result = rehearse("train.py", gpu="a100-sxm-40gb", on_log=lambda log: logs.append(log.text()))
    finally:
        os.chdir(here)
    assert result.error is None, (result.error, result.log_tail)
    assert tree_hash(folder) == before, "the user's folder was changed"
    seen = next(line for line in logs[0].splitlines() if line.startswith("SEEN"))
    return result, json.loads(seen[4:])


def test_script_sees_what_it_did(answer: tuple[RehearsalResult, dict[str, object]]) -> None:
    _, seen = answer
    assert seen["written"] == "mine"
    assert seen["appended"] == "yours and more"
    assert seen["walked"] == ["runs/one", "runs/one/log"]
    assert seen["loaded"] == [1.0, 1.0]
    assert seen["array"] == [0, 1, 2]
    assert (seen["module"], seen["by_name"], seen["tensors"]) == (0.5, 0.5, [1.0, 1.0])
    assert (seen["tokens"], seen["vocab"]) == ([2], True)
    assert seen["globbed"] == ["runs/array.npy", "runs/best.pt", "runs/one"]
    assert seen["inner"] == ["array.npy", "best.pt", "inner.txt", "latest", "one"]
    assert (seen["removed"], seen["data"]) == (False, False)
    assert (seen["db"], seen["link"], seen["temporary"]) == (True, True, True)


def test_programs_are_not_started_but_queries_are(answer: tuple[RehearsalResult, dict[str, object]]) -> None:
    result, seen = answer
    assert (seen["system"], seen["run"], seen["shell"]) == (0, 0, "")
    assert seen["uname"] is True
    assert str(seen["smi"]).startswith("NVIDIA A100-SXM4-40GB, ")
    started = [e["what"] for e in result.effects if e["kind"] == "process"]
    assert "touch made_by_run" in started
    assert "rm -rf data; echo done" in started


def test_network_signals_and_c_code_are_refused(answer: tuple[RehearsalResult, dict[str, object]]) -> None:
    result, seen = answer
    assert "192.0.2.1:80" in str(seen["network"])
    assert seen["local"] is True
    assert seen["kill"] == "refused"
    assert {"kind": "network", "what": "192.0.2.1:80", "times": 1} in result.effects
    if Path("/sys/kernel/security/landlock").exists() or seen["c"] == -1:
        assert seen["c"] == -1


def test_trackers_are_off_and_everything_is_listed(answer: tuple[RehearsalResult, dict[str, object]]) -> None:
    result, seen = answer
    assert seen["wandb"] == 0.1
    assert {e["kind"] for e in result.effects} >= {"write", "delete", "process", "network", "stub"}
    assert any("went to a scratch folder" in text for text in result.assumptions)


def test_nothing_listens_in_this_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert server.getsockname()[1] > 0
    assert os.open is not None
    assert open.__module__ in {"_io", "io"}


def test_a_picture_of_the_model_is_left_out() -> None:
    class SummaryWriter:
        def add_graph(self, model: object, inputs: object) -> None:
            raise AssertionError("would trace the model")

    module = ModuleType("torch.utils.tensorboard.writer")
    module.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    _draw_no_graph(module)
    SummaryWriter().add_graph(object(), None)
    _draw_no_graph(StandInModule("tensorboardX.writer"))
