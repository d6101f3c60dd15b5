"""A dispatch key above autograd where CUDA's own choices are made.

Some composite operations decompose by device before anything below autograd can see them: which
attention kernel runs, whether dropout is one kernel, how a recurrent layer is computed; and autocast
casts there. torch reserves a key for autocast of out-of-tree backends (``AutocastPrivateUse1``).
Nobody uses it here, so it is switched on for the thread of the rehearsal and carries those choices.
Kernels registered for it do nothing while it is off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

KEY: Any = torch._C.DispatchKey.AutocastPrivateUse1  # type: ignore[attr-defined]
_KEYS = torch._C.DispatchKeySet(KEY)
_AFTER = torch._C._dispatch_keyset_full_after(KEY)
_LIBRARIES: list[torch.library.Library] = []
_REGISTERED: dict[str, Callable[..., Any]] = {}


def below() -> Any:
    """Return a context in which operations are not overridden."""
    return torch._C._ExcludeDispatchKeyGuard(_KEYS)


def passed_on(func: Any, keys: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run ``func`` as if it had no override; what it is composed of keeps its overrides."""
    return func.redispatch(keys & _AFTER, *args, **kwargs)


def override(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register what ``aten::name`` does while the key is on.

    The function gets the set of dispatch keys before the arguments if its first parameter is called
    ``keys``. It calls the original under ``below()``, or with ``passed_on``.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        if name in _REGISTERED:
            raise ValueError(f"two overrides of aten::{name}")
        _REGISTERED[name] = function
        return function

    return decorate


def has_override(name: str) -> bool:
    """Tell whether ``aten::name`` is overridden."""
    return name in _REGISTERED


def _install() -> None:
    if _LIBRARIES:
        return
    everything = torch.library.Library("_", "IMPL")
    everything.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    aten = torch.library.Library("aten", "IMPL")
    for name, function in _REGISTERED.items():
        with_keys = function.__code__.co_varnames[:1] == ("keys",)
        aten.impl(name, function, "AutocastPrivateUse1", with_keyset=with_keys)
    _LIBRARIES.extend((everything, aten))
    # Higher-order operators hold a list of the keys they skip; this one is not on it.
    torch._ops._HIGHER_ORDER_OP_DEFAULT_FALLTHROUGH_DISPATCH_KEYS.append(KEY)
    for operator in torch._ops._higher_order_ops.values():
        operator.fallthrough(KEY)


@contextmanager
def switched_on() -> Iterator[None]:
    """Switch the overrides on for this thread."""
    _install()
    tls_included = torch._C._dispatch_tls_set_dispatch_key_included
    tls_excluded = torch._C._dispatch_tls_set_dispatch_key_excluded
    was_excluded = torch._C._dispatch_tls_is_dispatch_key_excluded(KEY)
    tls_included(KEY, True)
    tls_excluded(KEY, False)
    try:
        yield
    finally:
        tls_included(KEY, False)
        tls_excluded(KEY, was_excluded)
