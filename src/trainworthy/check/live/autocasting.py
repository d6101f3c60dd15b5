"""Autocast regions: in which precision the multiplications with weights are done within them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from trainworthy.check.finding import Place
from trainworthy.check.live.facts_setup import UnderAutocast
from trainworthy.check.live.watch import Watch

MULTIPLICATIONS = frozenset(
    "linear matmul mm bmm addmm baddbmm einsum __matmul__ conv1d conv2d conv3d conv_transpose2d bilinear".split()
)
_LOW = (torch.float16, torch.bfloat16)


class AutocastWatch:
    """Notes the outermost region that is open, and what is done within it."""

    compiled_code_sees_it = True

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._regions: list[tuple[torch.dtype, Place, bool]] = []
        self._work: dict[Place, dict[str, Any]] = {}

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Replace the entry and exit of ``torch.autocast`` while the context is open."""
        autocast: Any = torch.autocast
        enter, leave = autocast.__enter__, autocast.__exit__

        def entered(region: Any) -> Any:
            self.watch.attempt("autocast", self._entered, region)
            return enter(region)

        def left(region: Any, *args: Any) -> Any:
            if self._regions:
                self._regions.pop()
            return leave(region, *args)

        autocast.__enter__, autocast.__exit__ = entered, left
        try:
            yield
        finally:
            autocast.__enter__, autocast.__exit__ = enter, leave
            self._regions.clear()

    def _entered(self, region: Any) -> None:
        self._regions.append((region.fast_dtype, self.watch.place(), bool(region._enabled)))

    def multiplied(self, name: str, args: tuple[Any, ...], out: torch.Tensor, source: int) -> None:
        """Count a multiplication with a weight."""
        if not self._regions or self.watch.step >= 4:
            return
        dtype, region, enabled = self._regions[0]
        weight = next((a for a in args[:3] if isinstance(a, nn.Parameter) and a.dim() >= 2), None)
        if not enabled or dtype not in _LOW or weight is None or weight.dtype is not torch.float32:
            return
        work = self._work.setdefault(region, {"dtype": dtype, "low": 0, "full": 0, "place": None})
        size = out.numel() * (weight.numel() // weight.shape[0])
        work["low" if out.dtype in _LOW else "full"] += size
        if out.dtype is torch.float32 and work["place"] is None:
            work["place"], work["name"] = self.watch.place_of(source), name.strip("_")

    def finish(self) -> None:
        """Write down the regions in which something was done in full precision."""
        for region, work in self._work.items():
            if work["place"] is not None:
                self.watch.facts.under_autocast.append(UnderAutocast(
                    place=work["place"], dtype=str(work["dtype"]).removeprefix("torch."), region=region,
                    low=work["low"], full=work["full"], example=work["name"],
                ))  # fmt: skip
