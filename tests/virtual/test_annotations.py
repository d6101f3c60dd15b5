"""Shape annotations as they are written."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from trainworthy.virtual.annotations import Annotation, annotations_of

SOURCE = """\
from __future__ import annotations
import functools


def marked(function):
    @functools.wraps(function)
    def inner(*args):
        return function(*args)
    return inner


class Model:
    @marked
    def forward(
        self,
        x: Float[Tensor, "b t 64"],
        mask: Bool[Tensor, "b #t"] | None = None,
        ids: Optional["Int[Tensor, 'b t']"] = None,
        both: Float[Tensor, "b"] | Int[Tensor, "b"] = None,
        plain: Tensor = None,
        *,
        named: jt.Float32[torch.Tensor, "..."] = None,
    ) -> "Float[Tensor, 'b 10']":
        return x


function = lambda x: x
"""


def loaded(path: Path) -> Any:
    path.write_text(SOURCE, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("annotated", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_annotations_are_read_from_the_source(tmp_path: Path) -> None:
    module = loaded(tmp_path / "annotated.py")
    assert annotations_of(module.Model.forward) == {
        "x": Annotation("Float", "b t 64", 16),
        "mask": Annotation("Bool", "b #t", 17),
        "ids": Annotation("Int", "b t", 18),
        "named": Annotation("Float32", "...", 22),
        "return": Annotation("Float", "b 10", 23),
    }
    assert annotations_of(module.function) == {}
    assert annotations_of(len) == {}
