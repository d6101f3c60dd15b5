"""Scripts, modules, functions and notebooks run as Python would run them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainworthy._api.rehearse import rehearse
from trainworthy.errors import UsageError
from trainworthy.virtual.notebook import read_notebook

LOOP = """
def train(model, batches):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x in batches:
        model(x).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    here = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(here)


def test_script_is_main_with_its_arguments_and_neighbours(folder: Path) -> None:
    (folder / "neighbour.py").write_text("import torch\n" + LOOP)
    (folder / "train.py").write_text(
        "import inspect, os, pickle, sys, torch\n"
        "from dataclasses import dataclass\n"
        "from neighbour import train\n"
        "assert sys.argv == ['train.py', '--lr', '0.1', '-m'], sys.argv\n"
        f"assert __name__ == '__main__' and __file__ == {str(folder / 'train.py')!r}\n"
        "assert sys.modules['__main__'].__dict__ is globals()\n"
        "@dataclass\n"
        "class Config:\n"
        "    size: int = 3\n"
        "pickle.loads(pickle.dumps(Config()))\n"
        "assert 'class Config' in inspect.getsource(Config)\n"
        f"assert sys.path[0] == {str(folder)!r} and os.getcwd() == {str(folder)!r}\n"
        "train(torch.nn.Linear(3, 3).cuda(), [torch.ones(2, 3, device='cuda')] * 50)\n"
    )
    result = rehearse("train.py", args=("--lr", "0.1", "-m"), steps=3)
    assert (result.error, result.steps) == (None, 3)
    assert {line.source.path for line in result.lines} == {"neighbour.py"}


def test_module_runs_as_python_dash_m(folder: Path) -> None:
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("")
    (folder / "package" / "loop.py").write_text("import torch\n" + LOOP)
    (folder / "package" / "train.py").write_text(
        "import sys, torch\nfrom .loop import train\nassert __name__ == '__main__' and sys.argv[1:] == ['go']\n"
        "train(torch.nn.Linear(3, 3).cuda(), iter(lambda: torch.ones(2, 3, device='cuda'), None))\n"
    )
    result = rehearse("package.train", is_module=True, args=("go",))
    assert (result.error, result.verdict) == (None, "fits")
    with pytest.raises(UsageError, match="No module"):
        rehearse("package.no_such", is_module=True)


def test_function_that_returns_a_loss_or_a_step_or_a_function(folder: Path) -> None:
    (folder / "steps.py").write_text(
        "import torch, trainworthy\n"
        "def make():\n"
        "    model = torch.nn.Linear(1000, 1000).cuda()\n"
        "    optimizer = torch.optim.Adam(model.parameters())\n"
        "    def step():\n"
        "        loss = model(torch.randn(8, 1000, device='cuda')).square().mean()\n"
        "        return trainworthy.Step(loss=loss, optimizer=optimizer)\n"
        "    return step\n"
    )
    result = rehearse("steps:make")
    assert (result.error, result.steps) == (None, 2)
    assert result.memory_by_kind_bytes["optimizer_state"] >= 2 * 4 * 1_001_000


def test_notebook_runs_its_code_cells_without_magics(folder: Path) -> None:
    cells = [
        ("markdown", "# Title"),
        ("code", "%matplotlib inline\n!pip install torch\nimport torch\nfiles = !ls\nassert files == []"),
        ("code", "%%time\nmodel = torch.nn.Linear(3, 3).cuda()\ntext = '''\n%not magic\n'''"),
        ("code", "%%bash\nrm -rf /"),
        ("code", LOOP + "train(model, [torch.ones(2, 3, device='cuda')] * 9)\nmodel"),
    ]
    raw = {"cells": [{"cell_type": kind, "source": text} for kind, text in cells], "nbformat": 4}
    (folder / "book.ipynb").write_text(json.dumps(raw))
    result = rehearse("book.ipynb")
    assert (result.error, result.steps) == (None, 2)
    assert result.peak_source is not None
    assert result.peak_source["path"] in {"<cell 2>", "<cell 4>"}
    assert len(read_notebook(folder / "book.ipynb").skipped) == 5


def test_notebook_that_is_none_is_refused(folder: Path) -> None:
    (folder / "book.ipynb").write_text("{}")
    with pytest.raises(UsageError, match="not a Jupyter notebook"):
        rehearse("book.ipynb")


def test_data_specification_stands_in_for_what_is_not_there(folder: Path) -> None:
    (folder / "train.py").write_text(
        "import numpy as np, torch\n"
        "from torch.utils.data import DataLoader, Dataset\n"
        "class Photos(Dataset):\n"
        "    def __init__(self, root):\n"
        "        self.files = open(root + '/index.txt').read().split()\n"
        "    def __len__(self): return len(self.files)\n"
        "    def __getitem__(self, i): return open(self.files[i]), 0\n"
        "tokens = np.memmap('data/train.bin', dtype=np.uint16, mode='r')\n"
        "assert tokens.shape == (5000,) and tokens.max() < 100\n"
        "data = Photos('/nowhere')\n"
        "loader = DataLoader(data, batch_size=4, num_workers=3, shuffle=True)\n"
        "assert len(loader) == 125\n"
        "model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 10)).cuda()\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "for x, y in loader:\n"
        "    assert x.shape == (4, 3, 8, 8) and y.dtype == torch.int64 and y.max() < 10\n"
        "    torch.nn.functional.cross_entropy(model(x.cuda()), y.cuda()).backward(); optimizer.step()\n"
    )
    data = "float32[3,8,8], int64[]<10, data/train.bin=uint16[5000]<100 *500"
    result = rehearse("train.py", data=data)
    assert (result.error, result.steps) == (None, 2)
    without = rehearse("train.py", data="data/train.bin=uint16[5000]<100")
    assert without.error is not None
    assert "Photos is not on this machine" in without.error["fix"]
    assert '--data "float32[3,224,224], int64[]<1000"' in without.error["fix"]


def test_batches_fetched_by_hand_do_not_run_out(folder: Path) -> None:
    (folder / "train.py").write_text(
        "import torch\n"
        "from torch.utils.data import DataLoader\n" + LOOP + "def forever():\n"
        "    while True:\n"
        "        yield from DataLoader(torch.rand(64, 3), batch_size=8)\n"
        "model, batches = torch.nn.Linear(3, 3).cuda(), forever()\n"
        "with torch.no_grad():\n"
        "    model.eval()\n"
        "    held_out = iter(DataLoader(torch.rand(64, 3), batch_size=8))\n"
        "    for _ in range(8): model(next(held_out).cuda())\n"
        "train(model.train(), (next(batches).cuda() for _ in range(9)))\n"
    )
    result = rehearse("train.py")
    assert (result.error, result.steps) == (None, 2)


def test_process_that_is_given_a_model_runs_here(folder: Path) -> None:
    (folder / "train.py").write_text(
        "import torch\n"
        "import torch.multiprocessing as mp\n" + LOOP + "if __name__ == '__main__':\n"
        "    mp.set_start_method('spawn', force=True)\n"
        "    model = torch.nn.Linear(3, 3).cuda().share_memory()\n"
        "    batches = [torch.ones(2, 3, device='cuda')] * 4\n"
        "    workers = [mp.Process(target=train, args=(model, batches)) for _ in range(2)]\n"
        "    for worker in workers: worker.start()\n"
        "    for worker in workers: worker.join()\n"
    )
    result = rehearse("train.py")
    assert (result.error, result.steps) == (None, 2)


def test_terminal_size_is_answered(folder: Path) -> None:
    (folder / "train.py").write_text(
        "import os, torch\n" + LOOP + "rows, columns = os.popen('stty size', 'r').read().split()\n"
        "train(torch.nn.Linear(3, 3).cuda(), [torch.ones(int(columns), 3, device='cuda')] * 2)\n"
    )
    assert rehearse("train.py").error is None


def test_a_script_that_needs_its_whole_evaluation_gets_it(folder: Path) -> None:
    (folder / "train.py").write_text(
        "import os, torch\n"
        "from torch.utils.data import DataLoader\n" + LOOP + "assert not os.path.exists('seen')\n"
        "open('seen', 'w').close()\n"
        "model = torch.nn.Linear(3, 3).cuda()\n"
        "for epoch in range(3):\n"
        "    train(model, [torch.ones(2, 3, device='cuda')])\n"
        "    with torch.no_grad():\n"
        "        scores = [model(x.cuda()) for x in DataLoader(torch.rand(64, 3), batch_size=8)]\n"
        "    torch.stack(scores).chunk(len(scores) // 4)\n"
    )
    result = rehearse("train.py")
    assert (result.error, result.steps) == (None, 2)
    assert any("evaluation runs in full" in text for text in result.assumptions)
    (folder / "train.py").write_text((folder / "train.py").read_text().replace("// 4", "// 9"))
    failed = rehearse("train.py")
    assert failed.error is not None
    assert "chunks" in failed.error["message"]
