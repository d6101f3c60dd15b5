"""Modules whose calls have the types of their ``forward``.

``torch.nn.Module`` declares its call as ``(...) -> Any``, so editors and type checkers neither complete nor check
``model(x)``. A class that derives from :class:`TypedModule` instead has it checked by mypy and pyright, with nothing
else to write; at run time nothing differs, and hooks run as ever::

    class Net(TypedModule):
        def forward(self, x: Tensor, *, scale: float = 1.0) -> tuple[Tensor, int]: ...


    reveal_type(Net()(x))  # tuple[Tensor, int]
    Net()(x, scal=2.0)  # error: no parameter named "scal"
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
    """A module that is called with the arguments of its ``forward``, and returns what that returns."""

    if TYPE_CHECKING:

        @property
        def __call__(self: _HasForward[P, R_co]) -> Callable[P, R_co]:  # type: ignore[override]
            """Call the module, as ``forward`` is called."""
