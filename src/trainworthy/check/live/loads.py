"""``load_state_dict``: how much of a checkpoint found its place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import nn

from trainworthy.check.live.facts_steps import StateLoad
from trainworthy.check.live.watch import Watch, plain


class LoadWatch:
    """Reads what ``Module.load_state_dict`` returns anyway."""

    compiled_code_sees_it = False

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Replace ``nn.Module.load_state_dict`` while the context is open."""
        load = nn.Module.load_state_dict

        def watched(module: nn.Module, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
            given = list(state_dict)
            own = self.watch.attempt("loaded checkpoints", _own, module, state_dict) if self.watch.looking else 0
            result = load(module, state_dict, *args, **kwargs)
            if self.watch.looking and given and hasattr(result, "missing_keys"):
                self.watch.attempt("loaded checkpoints", self._note, module, given, own or 0, result)
            return result

        nn.Module.load_state_dict = watched  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            nn.Module.load_state_dict = load  # type: ignore[method-assign]

    def _note(self, module: nn.Module, given: list[str], own: int, result: Any) -> None:
        missing, unexpected = list(result.missing_keys), list(result.unexpected_keys)
        self.watch.facts.loads.append(StateLoad(
            place=self.watch.place(), model=type(module).__name__, num_tensors=len(given), num_missing=len(missing),
            num_unexpected=len(unexpected), num_own=own, example_missing=missing[0] if missing else None,
            example_unexpected=unexpected[0] if unexpected else None,
        ))  # fmt: skip


def _own(module: nn.Module, state_dict: Any) -> int:
    """Count the tensors of a checkpoint that are the model's own, under the same names.

    Its ``state_dict`` is not asked: that may be the user's, or gather from other ranks.
    """
    own = dict(chain(module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False)))
    return sum(
        isinstance(value, torch.Tensor) and isinstance(mine := own.get(name), torch.Tensor) and _is_one(value, mine)
        for name, value in state_dict.items()
    )


def _is_one(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and plain(a) and plain(b) and a.numel() > 0 and a.data_ptr() == b.data_ptr()
