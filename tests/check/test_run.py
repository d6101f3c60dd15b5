"""Files, folders, hostile input, notebooks, noqa, baseline and fixes."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainworthy.check.baseline import read_baseline, without_known, write_baseline
from trainworthy.check.config import Config, load_config
from trainworthy.check.fixing import apply_fixes, fixed_text
from trainworthy.check.rule import all_rules
from trainworthy.check.run import CheckResult, check_file, check_paths, collect
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.project import Project
from trainworthy.check.static.source import read_source
from trainworthy.check.static.values import Sequence
from trainworthy.errors import UsageError

SOFTMAX = """\
import torch
import torch.nn.functional as F

out = torch.softmax(torch.rand(8, 10), dim=1)
loss = F.cross_entropy(out, torch.zeros(8).long())
"""


def check(text: str | bytes, path: str = "x.py", config: Config | None = None) -> CheckResult:
    data = text if isinstance(text, bytes) else text.encode()
    config = config or Config()
    return collect([check_file(path, config, data=data, project=Project())], config)


def codes(result: CheckResult) -> list[str]:
    return [one.code for one in result.findings]


HOSTILE = {
    "syntax": b"def f(:\n  pass",
    "python 2": b"import torch\nprint 'hello'\n",
    "null": b"import torch\n\0\0",
    "not utf-8": b"import torch\n# \xff\xfe caf\xe9\n",
    "unknown encoding": b"# coding: klingon\nimport torch\n",
    "utf-16": "import torch\nx = 1\n".encode("utf-16"),
    "deep brackets": b"import torch\nx = " + b"[" * 5000 + b"]" * 5000,
    "deep sum": b"import torch\nx = " + b"+".join([b"1"] * 20000),
    "deep attributes": b"import torch\nx = a" + b".b" * 5000,
    "deep calls": b"import torch\nx = " + b"f(" * 150 + b")" * 150,
    "deep blocks": b"import torch\n" + b"".join(b" " * i + b"if x:\n" for i in range(90)) + b" " * 90 + b"pass",
    "large": b"import torch\n" + b"x = 1\n" * 1_800_000,
    "one long line": b"import torch\nx = '" + b"a" * 3_000_000 + b"'\n",
    "truncated": SOFTMAX.encode()[:-10],
    "empty": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_give_one_line_each(name: str) -> None:
    result = check(HOSTILE[name])
    unreadable = [one for one in result.findings if one.code == "TW901"]
    assert len(unreadable) <= 1
    assert all("\n" not in one.message and one.place.line >= 1 for one in unreadable)


@pytest.mark.parametrize("name", ["syntax", "python 2", "null", "not utf-8", "unknown encoding", "large"])
def test_files_that_cannot_be_read_say_so(name: str) -> None:
    assert codes(check(HOSTILE[name])) == ["TW901"]


def test_python_2_is_called_so() -> None:
    assert check(HOSTILE["python 2"]).findings[0].message.startswith("Python 2")


@pytest.mark.parametrize("book", [b"", b"[]", b"{}", b'{"cells": 3}', b'{"cells": [3]}', b"\xff", b'{"cells": []}'])
def test_broken_notebooks_are_no_crash(book: bytes) -> None:
    assert all(one.code == "TW901" for one in check(book, "x.ipynb").findings)


def notebook(*cells: str) -> str:
    return json.dumps({"cells": [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]})


def test_notebooks_with_magics() -> None:
    first = "%matplotlib inline\n!pip install a \\\n  b\nfiles = !ls\nimport torch\nimport torch.nn.functional as F"
    second = "%%bash\nls -l | (("
    third = "out = torch.softmax(torch.rand(8, 10), dim=1)\nloss = F.cross_entropy(out, torch.zeros(8).long())\nloss?"
    result = check(notebook(first, second, third), "x.ipynb")
    assert [(one.code, one.place.cell, one.place.line) for one in result.findings] == [("TW201", 3, 2)]


def test_a_broken_cell_leaves_the_others() -> None:
    result = check(notebook("import torch\nx = (", "y = torch.range(0, 3)"), "x.ipynb")
    assert [(one.code, one.place.cell) for one in result.findings] == [("TW901", 1)]
    result = check(notebook("import torch", "x = f(a\n b)", "y = torch.range(0, 3)"), "x.ipynb")
    assert sorted((one.code, one.place.cell) for one in result.findings) == [("TW105", 3), ("TW901", 2)]


def test_a_cell_for_a_terminal_is_left_out() -> None:
    typed = ("$ cd here\n$ python train.py --lr 1", "docker-compose up", "cd $HOME/x\nmake-project new")
    assert check(notebook("import torch", *typed, "y = torch.zeros(3)"), "x.ipynb").findings == ()
    mixed = check(notebook("wget https://example.org/a.zip\nimport torch\ny = torch.zeros(3"), "x.ipynb")
    assert [one.code for one in mixed.findings] == ["TW901"]


def test_what_is_said_of_a_call_is_not_said_again_of_the_parameter() -> None:
    program = (
        "import torch\n\n\ndef drop(x, dropout=0.0):\n    x = x + 1\n    return x\n\n\n"
        "drop(torch.zeros(2), dropout=0.5)\n"
    )
    found = check(program.encode(), "x.py", Config(select=("TW844", "TW875"))).findings
    assert [(one.code, one.place.line) for one in found] == [("TW844", 9)]
    assert [one.code for one in check(program.encode(), "x.py", Config(select=("TW875",))).findings] == ["TW875"]


def test_a_broken_cell_may_bind_a_name() -> None:
    use = "import torch\ndef run(x):\n    return model(torch.relu(x))"
    assert [one.code for one in check(notebook(use), "x.ipynb").findings] == ["TW831"]
    assert [one.code for one in check(notebook("model = (", use), "x.ipynb").findings] == ["TW901"]


def test_notebooks_with_what_ipython_reads_otherwise() -> None:
    cells = (
        "ls -l text.txt",
        " !tts --text a \\\n   --path b",
        "  import torch\n  y = torch.range(0, 3)",
        "cat = 3\ncat",
    )
    result = check(notebook(*cells), "x.ipynb")
    assert [(one.code, one.place.cell, one.place.line) for one in result.findings] == [("TW105", 3, 2)]


FRAGMENTS = [one.bad for one in all_rules().values()] + [one.good for one in all_rules().values()]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**9))
def test_mangled_programs_never_crash(seed: int) -> None:
    draw = random.Random(seed)
    lines = "\n".join(draw.sample(FRAGMENTS, 3)).split("\n")
    for _ in range(draw.randrange(6)):
        at = draw.randrange(len(lines))
        change = draw.randrange(4)
        if change == 0:
            del lines[at]
        elif change == 1:
            lines.insert(at, lines[draw.randrange(len(lines))])
        elif change == 2:
            words = lines[at].split(" ")
            draw.shuffle(words)
            lines[at] = " ".join(words)
        else:
            lines[at] = lines[at][: draw.randrange(len(lines[at]) + 1)]
    check("\n".join(lines), config=Config(select=("ALL",)))


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300))
def test_random_bytes_never_crash(data: bytes) -> None:
    check(b"import torch\n" + data)
    check(data, "x.ipynb")


def test_folders_links_and_excluded_names(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "train.py").write_text(SOFTMAX)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "other.py").write_text(SOFTMAX)
    os.symlink(tmp_path, tmp_path / "a" / "loop")
    os.symlink(tmp_path / "nowhere.py", tmp_path / "a" / "dangling.py")
    result = check_paths([str(tmp_path)], Config())
    assert (result.files, codes(result)) == (1, ["TW201"])


def test_parallel_and_serial_agree(tmp_path: Path) -> None:
    for number in range(16):
        (tmp_path / f"f{number:02}.py").write_text(SOFTMAX)
    alone = check_paths([str(tmp_path)], Config(jobs=1))
    together = check_paths([str(tmp_path)], Config(jobs=2))
    assert alone == together
    assert len(alone.findings) == 16


def test_models_are_followed_into_other_files(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("from .net import Net\n")
    net = "import torch.nn as nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    net += "        self.body = nn.Sequential(nn.Linear(4, 10), nn.Softmax(dim=1))\n\n"
    net += "    def forward(self, x):\n        return self.body(x)\n"
    (tmp_path / "models" / "net.py").write_text(net)
    train = "import torch\nfrom models import Net\n\nnet = Net()\ncriterion = torch.nn.CrossEntropyLoss()\n"
    (tmp_path / "train.py").write_text(train + "loss = criterion(net(torch.rand(8, 4)), torch.zeros(8).long())\n")
    result = check_paths([str(tmp_path / "train.py")], Config())
    assert [(one.code, one.place.line) for one in result.findings] == [("TW201", 6)]
    evidence = result.findings[0].evidence[0].place
    assert evidence is not None
    assert evidence.path.endswith("net.py")


# --- noqa -----------------------------------------------------------------------------------------------------------


def test_noqa_silences_its_code_only() -> None:
    line = "loss = F.cross_entropy(out, torch.zeros(8).long())"
    for comment, expected in {
        "  # noqa: TW201": [],
        "  # noqa": [],
        "  # noqa: E501, TW201": [],
        "  # NOQA:TW201": [],
        "  # noqa: TW202": ["TW201", "TW890"],
        "  # noqa: E501": ["TW201"],
        "  # noqable": ["TW201"],
    }.items():
        assert codes(check(SOFTMAX.replace(line, line + comment))) == expected, comment


def test_noqa_in_a_string_is_none() -> None:
    assert codes(check(SOFTMAX.replace("import torch\n", 'import torch\nx = "# noqa: TW201"\n', 1))) == ["TW201"]


def test_noqa_of_a_rule_that_does_not_run_is_not_unused() -> None:
    text = "import torch\nx = 1  # noqa: TW419\n"
    assert codes(check(text)) == []
    assert codes(check(text, config=Config(select=("ALL",)))) == ["TW890"]


# --- selecting ------------------------------------------------------------------------------------------------------


def test_selection_by_prefix_and_name() -> None:
    assert codes(check(SOFTMAX, config=Config(select=("TW3",)))) == []
    assert codes(check(SOFTMAX, config=Config(select=("TW2",)))) == ["TW201"]
    assert codes(check(SOFTMAX, config=Config(select=("softmax-before-cross-entropy",)))) == ["TW201"]
    assert codes(check(SOFTMAX, config=Config(ignore=("TW2",)))) == []
    assert codes(check(SOFTMAX, config=Config(select=("TW201",), ignore=("TW2",)))) == ["TW201"]


def test_config_file(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text('[tool.trainworthy.check]\nignore = ["TW2"]\nextend-select = ["TW419"]\nextend-exclude = ["old"]\n')
    config = load_config(str(tmp_path))
    assert config.ignore == ("TW2",)
    assert config.extend_select == ("TW419",)
    assert config.excludes("old")
    assert config.excludes(".venv")
    file.write_text('[tool.trainworthy.check]\nselekt = ["TW2"]\n')
    with pytest.raises(UsageError, match="selekt"):
        load_config(str(tmp_path))


def test_per_file_ignores() -> None:
    config = Config(per_file_ignores=(("tests/*", ("TW2",)),))
    assert codes(check(SOFTMAX, "tests/x.py", config)) == []
    assert codes(check(SOFTMAX, "src/x.py", config)) == ["TW201"]


# --- baseline and fixes ---------------------------------------------------------------------------------------------


def test_baseline_survives_moved_lines(tmp_path: Path) -> None:
    file, known = tmp_path / "train.py", tmp_path / "known.json"
    file.write_text(SOFTMAX)
    assert write_baseline(str(known), check_paths([str(file)], Config()).findings) == 1
    file.write_text("# a line more\n\n" + SOFTMAX)
    moved = check_paths([str(file)], Config()).findings
    from trainworthy.check import baseline

    baseline._lines.cache_clear()
    assert without_known(moved, read_baseline(str(known))) == []
    file.write_text(SOFTMAX + "more = F.cross_entropy(out, out.argmax(-1))\n")
    baseline._lines.cache_clear()
    new = without_known(check_paths([str(file)], Config()).findings, read_baseline(str(known)))
    assert [one.place.line for one in new] == [6]


def test_fixes_are_safe_and_happen_once(tmp_path: Path) -> None:
    file = tmp_path / "train.py"
    file.write_text(
        "import torch\n\nnet = torch.nn.Linear(1, 1)\nfor p in net.parameters():\n    p.require_grad = False\n"
    )
    changed, diff = apply_fixes(check_paths([str(file)], Config()).findings, write=False)
    assert changed == 1
    assert "+    p.requires_grad = False" in diff
    assert "require_grad" in file.read_text()
    apply_fixes(check_paths([str(file)], Config()).findings, write=True)
    assert "p.requires_grad = False" in file.read_text()
    assert check_paths([str(file)], Config()).findings == ()


@pytest.mark.parametrize(
    "rule", [one for one in all_rules().values() if "static" in one.finders], ids=lambda one: one.code
)
def test_mended_programs_have_fewer_findings(rule: object) -> None:
    bad = str(getattr(rule, "bad", ""))
    before = check(bad, config=Config(select=("ALL",)))
    edits = [edit for one in before.findings for edit in one.edits]
    if edits:
        after = check(fixed_text(bad, edits), config=Config(select=("ALL",)))
        assert "TW901" not in codes(after)
        assert len(after.findings) < len(before.findings)


def test_modules_that_hold_each_other() -> None:
    text = "from torch import nn\n\n\nclass A(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    text += "        self.b = B()\n        self.b.a = self\n        self.all = [B(), B()]\n\n\n"
    text += (
        "class B(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.l = nn.Linear(1, 1)\n"
    )
    assert codes(check(text + "\n\na = nn.parallel.DistributedDataParallel(A())\n")) == ["TW303"]


def test_a_list_that_many_loops_append_to_stays_small() -> None:
    text = "import torch\n\nsizes = []\n" + "for one in range(torch.get_num_threads()):\n    sizes.append(one)\n" * 40
    analysis = Analysis(read_source("x.py", text.encode()), Project())
    (last,) = [call for call in analysis.method_calls("append") if call.node.lineno == 83]
    assert isinstance(last.owner, Sequence)
    assert len(last.owner.some) <= 40


def test_imports_are_followed_however_many_files_were_read(tmp_path: Path) -> None:
    project = Project()
    for number in range(402):
        project.add(read_source(f"part_{number}.py", b"x = 1\n"))
    (tmp_path / "layers.py").write_text("import torch\n", encoding="utf-8")
    found = project.find("layers", importer=str(tmp_path / "train.py"))
    assert found is not None
    assert project.find("layers", importer=str(tmp_path / "train.py")) is found
