"""A network for tables: numbers and categories to one or more values."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainworthy.errors import ShapeError
from trainworthy.parts.module import TypedModule


class TabularMLP(TypedModule):
    """Columns of numbers, standardised, and columns of categories, embedded, through linear layers.

    The means and deviations of the numeric columns are buffers: they travel with the checkpoint, so that what serves
    the model standardises as training did.

    Shapes:   numbers (N, numeric), categories (N, len(categories)), int64 -> (N, outputs)

    Args:
        numeric: Number of numeric columns.
        outputs: Number of values that come out.
        categories: For each column of categories how many there are.
        embedding: Width of the embedding of each category; None: ``min(50, (count + 1) // 2)``, a rule of thumb.
        hidden: Widths of the hidden layers.
        dropout: Share dropped after each hidden layer.
        mean: (numeric,) of the training data; None: 0.
        std: (numeric,) of the training data; None: 1. Columns without variation get 1.

    Raises:
        ShapeError: If mean or std do not have ``numeric`` values.

    >>> TabularMLP(numeric=3, outputs=1, categories=(5,))(torch.zeros(2, 3), torch.zeros(2, 1, dtype=torch.long)).shape
    torch.Size([2, 1])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, *, numeric: int, outputs: int = 1, categories: Sequence[int] = (), embedding: int | None = None,
        hidden: Sequence[int] = (128, 128), dropout: float = 0.0, mean: Tensor | None = None, std: Tensor | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.register_buffer("mean", _column_values("mean", mean, numeric, 0.0))
        spread = _column_values("std", std, numeric, 1.0)
        self.register_buffer("std", torch.where(spread > 0, spread, 1.0))
        widths = [min(50, (count + 1) // 2) if embedding is None else embedding for count in categories]
        self.embeddings = nn.ModuleList(nn.Embedding(*sizes) for sizes in zip(categories, widths, strict=True))
        width, layers = numeric + sum(widths), list[nn.Module]()
        for next_width in hidden:
            layers += [nn.Linear(width, next_width), nn.ReLU(inplace=True)]
            layers += [nn.Dropout(dropout)] if dropout else []
            width = next_width
        self.layers = nn.Sequential(*layers, nn.Linear(width, outputs))

    def forward(self, numbers: Tensor, categories: Tensor | None = None) -> Tensor:
        """Return the values.

        Raises:
            ShapeError: If there are not as many columns of categories as embeddings.
        """
        columns = 0 if categories is None else categories.shape[1]
        if columns != len(self.embeddings):
            raise ShapeError(f"{columns} columns of categories, but the model has {len(self.embeddings)} embeddings.")
        parts = [(numbers - self.mean) / self.std]
        if categories is not None:
            parts += [table(column) for table, column in zip(self.embeddings, categories.unbind(dim=1), strict=True)]
        values: Tensor = self.layers(torch.cat(parts, dim=1))
        return values


def _column_values(name: str, given: Tensor | None, columns: int, default: float) -> Tensor:
    if given is None:
        return torch.full((columns,), default)
    if given.shape != (columns,):
        raise ShapeError(f"{name} has shape {tuple(given.shape)}; it must be ({columns},), a value a numeric column.")
    return given.detach().float()
