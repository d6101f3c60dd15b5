"""Modules whose calls are typed: ``model(x)`` has the type of ``forward`` in editors, mypy and pyright.

``nn.Module.__call__`` returns ``Any``. Here it has, to type checkers only, the signature of the class's own
``forward``: nothing is written twice, and at run time hooks, torch.compile and pickling are those of torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec, Protocol, TypeVar

    P = ParamSpec("P")
    R_co = TypeVar("R_co", covariant=True)

    class _HasForward(Protocol[P, R_co]):
        @property
        def forward(self) -> Callable[P, R_co]: ...


class TypedModule(nn.Module):
    """A module that is called with the arguments of its ``forward``, and returns what that returns.

    >>> import torch
    >>> from torch import Tensor
    >>> class Double(TypedModule):
    ...     def forward(self, x: Tensor) -> Tensor:
    ...         return 2 * x
    >>> Double()(torch.ones(2))
    tensor([2., 2.])
    """

    if TYPE_CHECKING:

        @property
        def __call__(self: _HasForward[P, R_co]) -> Callable[P, R_co]:  # type: ignore[override]
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
