"""Real data that is there once scikit-learn, or Python itself, is installed."""

from __future__ import annotations

import re
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import TensorDataset

from trainworthy.errors import UsageError

Part = Literal["train", "validation"]


def digit_images(part: Part, *, size: int = 8, share: float = 0.2) -> TensorDataset:
    """Return 1,797 handwritten digits from 43 people, scikit-learn's copy of the test set of a UCI collection.

    The split is drawn once and for all, independent of any seed of a run.

    Shapes:   images (N, 1, size, size) from -1 to 1, labels (N,); 8 pixels a side, or bilinearly enlarged
    Source:   Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI; sklearn.datasets.load_digits

    Args:
        part: ``train`` or ``validation``.
        size: Side in pixels; at least 8.
        share: Share of the images that is the validation part.

    Raises:
        UsageError: If scikit-learn is not installed, or the size is below 8.
    """
    if size < 8:
        raise UsageError(f"size is {size}; the digits have 8 pixels a side, and are enlarged, not reduced.")
    found = _sklearn_datasets().load_digits()
    images = torch.tensor(found.images, dtype=torch.float32)[:, None] / 8 - 1
    if size != 8:
        images = functional.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
    labels = torch.tensor(found.target)
    chosen = _split(len(labels), part, share)
    return TensorDataset(images[chosen], labels[chosen])


def diabetes_table(part: Part, *, share: float = 0.2) -> TensorDataset:
    """Return 442 patients: age, sex, body mass, blood pressure and six serum values; progression a year later.

    Shapes:   numbers (N, 10), values (N,)
    Source:   Efron et al. 2004, "Least Angle Regression"; sklearn.datasets.load_diabetes

    Raises:
        UsageError: If scikit-learn is not installed.
    """
    found = _sklearn_datasets().load_diabetes(scaled=False)
    numbers = torch.tensor(found.data, dtype=torch.float32)
    values = torch.tensor(found.target, dtype=torch.float32)
    chosen = _split(len(values), part, share)
    return TensorDataset(numbers[chosen], values[chosen])


def help_paragraphs(part: Part) -> list[str]:
    """Return the paragraphs of Python's own help topics (``pydoc_data.topics``), 0.4 MB of English and code.

    Every sixth topic, by name, is for validation; a paragraph that stands in both parts is left out there. The text
    belongs to the version of Python.
    """
    from pydoc_data.topics import topics

    parts: dict[bool, dict[str, None]] = {True: {}, False: {}}
    for number, (_, text) in enumerate(sorted(topics.items())):
        for paragraph in re.split(r"\n\s*\n", text):
            flat = re.sub(r"\s+", " ", paragraph).strip()
            if len(flat) > 1:
                parts[number % 6 == 0][flat] = None
    return [each for each in parts[part == "validation"] if part == "train" or each not in parts[False]]


def _split(count: int, part: Part, share: float) -> Tensor:
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    held = round(share * count)
    return order[:held] if part == "validation" else order[held:]


def _sklearn_datasets() -> Any:
    try:
        from sklearn import datasets
    except ModuleNotFoundError:
        raise UsageError("This data ships with scikit-learn.", fix="pip install 'trainworthy[train]'") from None
    return datasets
