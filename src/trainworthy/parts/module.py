"""A module whose calls are typed: ``model(x)`` has the type of ``forward`` in editors and in mypy.

``nn.Module.__call__`` returns ``Any``. A declaration that only type checkers see gives it a type, and changes nothing
at run time: hooks, torch.compile and pickling are those of torch. A module that maps one tensor to one tensor derives
from :class:`TensorModule`; any other repeats the two lines with its own signature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn


class TensorModule(nn.Module):
    """A module from one tensor to one tensor.

    >>> import torch
    >>> class Double(TensorModule):
    ...     def forward(self, x: Tensor) -> Tensor:
    ...         return 2 * x
    >>> Double()(torch.ones(2))
    tensor([2., 2.])
    """

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor:
            """Run hooks and ``forward``."""
            ...


def module_names(model: nn.Module, kind: type[nn.Module] | tuple[type[nn.Module], ...]) -> list[str]:
    """Return the names of all modules of a kind, in order, as ``named_modules`` has them.

    This is what checkpointing and sharding by block want to know.

    >>> module_names(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)), nn.Linear)
    ['0', '2']
    """
    return [name for name, module in model.named_modules() if isinstance(module, kind)]


def count_parameters(model: nn.Module) -> int:
    """Count the numbers that are trained; a tensor used twice counts once, buffers do not count.

    Unit:     parameters

    >>> count_parameters(nn.Linear(3, 2))
    8
    """
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
