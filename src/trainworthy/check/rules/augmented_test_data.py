"""Data to test with are made with the transform of training.

What it finds:
    `STL10(root, split="test", transform=transform_train)`, or `train=False` with it, in a file that has a transform of
    its own for testing.

Why:
    The pictures are cropped, flipped and recoloured at random: the score is lower than that of the model, and another
    one each time.

How sure:
    The call says which part it is, and the file has the other transform under the same name but for that word.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis

BAD = """\
from torchvision import datasets, transforms

train_transform = transforms.Compose([transforms.RandomCrop(32, padding=4), transforms.ToTensor()])
test_transform = transforms.ToTensor()
train_set = datasets.CIFAR10("data", train=True, transform=train_transform)
test_set = datasets.CIFAR10("data", train=False, transform=train_transform)  # <- TW507
"""
GOOD = BAD.replace("train=False, transform=train_transform)  # <- TW507", "train=False, transform=test_transform)")

_TRAIN = re.compile(r"(?<![a-z])(train(ing)?)(?![a-z])|(?<=transform)train", re.IGNORECASE)
_OTHERS = ("test", "val", "valid", "eval", "validation", "testing", "dev")


@rule(code="TW507", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls with a transform."""
    for call in analysis.nodes.get(ast.Call, ()):
        if not isinstance(call, ast.Call):
            continue
        for keyword in call.keywords:
            name = _last(keyword.value)
            if keyword.arg in ("transform", "transforms") and _TRAIN.search(name) and _is_for_tests(call):
                other = next((one for one in _counterparts(name) if one in analysis.source.words), "")
                if other:
                    yield Hit(
                        place=analysis.place(keyword.value),
                        message=f"what is made here is for testing, and `{name}` is for training; there is `{other}`",
                        fix=f"Write `{other}`.",
                    )


def _last(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _counterparts(name: str) -> Iterator[str]:
    for one in _OTHERS:
        yield _TRAIN.sub(one, name)


def _is_for_tests(call: ast.Call) -> bool:
    """Say whether a call asks for the part of a data set that is not trained on."""
    for one in call.keywords:
        value = getattr(one.value, "value", None)
        if one.arg in ("train", "is_train", "training") and value is False:
            return True
        if one.arg in ("split", "mode", "phase", "subset", "image_set") and value in _OTHERS:
            return True
    return False
