"""``--data``: what stands in for data sets that are not here."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from trainworthy.errors import UsageError
from trainworthy.virtual.data import DataStandIns, _replace_or_explain
from trainworthy.virtual.data_spec import parse_spec
from trainworthy.virtual.effects import Effects


class Photos:
    """A data set whose files are missing; its construction got as far as its transform."""

    def __init__(self, transform: Any = None) -> None:
        self.transform = transform


def stand_in(spec: str, tmp_path: Path, transform: Any = None) -> Any:
    dataset: Any = Photos(transform)
    _replace_or_explain(dataset, FileNotFoundError(), DataStandIns(parse_spec(spec), Effects(str(tmp_path), None)))
    return dataset


def test_labels_agree_with_the_samples_and_every_class_is_there(tmp_path: Path) -> None:
    dataset = stand_in("float32[3,8,8], int64[]<10 *95", tmp_path)
    assert dataset.targets == [dataset[i][1] for i in range(95)]
    assert set(dataset.targets) == set(range(10))
    assert dataset.labels == dataset.targets
    assert stand_in("float32[3] *4", tmp_path).targets == [0] * 4


@pytest.fixture
def pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a Pillow that only knows ``Image.new``, where there is none."""

    class Image:
        def __init__(self, mode: str, size: tuple[int, int], colour: object) -> None:
            self.mode, self.size, self.colour = mode, size, colour

    Image.__module__ = "PIL.Image"
    module, package = ModuleType("PIL.Image"), ModuleType("PIL")
    module.new = Image  # type: ignore[attr-defined]
    package.Image = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "PIL", package)
    monkeypatch.setitem(sys.modules, "PIL.Image", module)


@pytest.mark.usefixtures("pillow")
def test_a_picture_goes_through_the_transform_of_the_data_set(tmp_path: Path) -> None:
    picture, label = stand_in("image[3,50,40], int64[]<4", tmp_path)[2]
    assert (picture.mode, picture.size, label) == ("RGB", (40, 50), 2)
    assert picture.colour == (74, 74, 74)
    assert stand_in("image[1,5,4]", tmp_path, transform=lambda image: image.mode)[0] == "L"
    seen = stand_in("image[3,50,40], int64[]<4", tmp_path, transform=lambda image: (image.size, "strong"))[1]
    assert seen == (((40, 50), "strong"), 1)
    named = stand_in("pixels: image[3,50,40], label: int64[]<4", tmp_path, transform=lambda image: image.size)
    assert named[3] == {"pixels": (40, 50), "label": 3}
    assert next(iter(named)) == {"pixels": (40, 50), "label": 0}


def test_tensors_are_what_comes_out_of_the_transform(tmp_path: Path) -> None:
    dataset = stand_in("float32[3,8,8]", tmp_path, transform=lambda image: 1 / 0)
    assert dataset[0].shape == (3, 8, 8)


@pytest.mark.parametrize("text", ["image[50,40]", "image[4,5,5]", "a.bin=image[3,8,8]"])
def test_what_is_no_picture_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a picture") as refused:
        parse_spec(text)
    assert "image[3,500,375]" in str(refused.value.fix)


def test_pictures_need_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UsageError, match="Pillow"):
        stand_in("image[3,8,8]", tmp_path)[0]
