"""Every part is listed, found lazily, and has an example; the examples of docs/parts.md run as they stand."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FunctionType

import pytest

import trainworthy.parts
from trainworthy.errors import MissingTorchError

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "parts.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^### `([\w.]+)`\n(.*?)^```python\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(("module", "example"), [(module, example) for module, _, example in BLOCKS])
def test_the_examples_of_the_page_run(
    module: str, example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    test = doctest.DocTestParser().get_doctest(example, {}, module, "docs/parts.md", 0)
    told: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(test, out=told.append)
    assert result.attempted > 0
    assert result.failed == 0, "".join(told)


def test_every_module_is_on_the_page_and_all_but_plain_results_have_an_example() -> None:
    assert [module for module, _, _ in BLOCKS] == list(trainworthy.parts.MODULES)
    for module, names in trainworthy.parts.MODULES.items():
        tree = ast.parse(Path(str(importlib.import_module(f"trainworthy.parts.{module}").__file__)).read_text())
        for node in tree.body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name in names.split():
                text = ast.get_docstring(node) or ""
                result = "Attributes:" in text and "Args:" not in text and "kind" not in text
                assert ">>> " in text or result, f"{module}.{node.name} has no example"
                assert f"- `{node.name}`: " in PAGE


def test_names_come_from_their_homes_and_nothing_public_is_left_out() -> None:
    listed = [name for names in trainworthy.parts.MODULES.values() for name in names.split()]
    assert sorted(listed) == sorted(trainworthy.parts.__all__) == dir(trainworthy.parts)
    assert len(set(listed)) == len(listed)
    for module, names in trainworthy.parts.MODULES.items():
        home = importlib.import_module(f"trainworthy.parts.{module}")
        for name in names.split():
            assert getattr(trainworthy.parts, name) is getattr(home, name)
        made = [v for v in vars(home).values() if isinstance(v, (type, FunctionType)) and v.__module__ == home.__name__]
        own = {value.__name__ for value in made if value.__name__[0] != "_"}
        assert own <= set(names.split()), f"{module} has more"


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(trainworthy.parts.__file__).read_text())
    seen = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("trainworthy.parts.")
        for alias in node.names
    }
    assert seen == {
        name: f"trainworthy.parts.{m}" for m, ns in trainworthy.parts.MODULES.items() for name in ns.split()
    }


def test_what_there_is_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Transformerr'"):
        trainworthy.parts.Transformerr  # noqa: B018  (asking for it is the test)


def test_torch_is_imported_with_the_first_part_that_wants_it() -> None:
    program = (
        "import sys\n"
        "from trainworthy.parts import hill_climbing, read_fasta, split_of\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
        "from trainworthy.parts import difference_hash\n"
        "assert 'torch' not in sys.modules and 'sklearn' not in sys.modules\n"
        "from trainworthy.parts import Keep\n"
        "assert 'torch' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_a_missing_torch_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "trainworthy.parts.losses.overlap", raising=False)
    with pytest.raises(MissingTorchError, match=r"dice_loss of trainworthy\.parts needs PyTorch"):
        trainworthy.parts.dice_loss  # noqa: B018  (asking for it is the test)
