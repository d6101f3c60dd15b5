"""``generate(max_new_tokens=...)``: how often the model ran, beside what was asked for."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import torch
from torch import nn

from trainworthy.check.finding import Place
from trainworthy.check.live.facts_setup import LongGeneration
from trainworthy.check.live.watch import Watch

_DEPTH = 40  # frames between a call of a model and the function that generates with it
# Arguments of searches that call a model several times for a token, or for the prompt.
_SEVERAL_CALLS = (
    "assistant_model", "penalty_alpha", "prompt_lookup_num_tokens", "custom_generate", "guidance_scale", "dola_layers",
    "prefill_chunk_size", "assistant_early_exit",
)  # fmt: skip


class GenerationWatch:
    """Counts the calls of a model that one call of a ``generate`` makes; needs no seam of its own.

    Each call of a model gives at least one token, so that more calls than tokens asked for are too many; one more is
    let pass. Searches that call it several times for a token (assisted, contrastive, guided) are left out by their
    arguments.
    """

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._running: tuple[FrameType, int, int, Place, str] | None = None  # frame, asked, made, place, model
        self._told: set[Place] = set()

    def module_called(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Count a call."""
        if torch.is_grad_enabled() or module.training:
            return
        frame = _generating(sys._getframe(1), module)
        if frame is None:
            self.finish()
            return
        if self._running is None or self._running[0] is not frame:
            self.finish()
            asked = _asked(frame)
            if asked is None:
                return
            self._running = (frame, asked, 0, self.watch.facts.forwards[-1].place, type(module).__name__)
        frame, asked, made, place, name = self._running
        self._running = (frame, asked, made + 1, place, name)

    def finish(self) -> None:
        """Write down a call that is over, if it made too many."""
        running, self._running = self._running, None
        if running is None:
            return
        _, asked, made, place, name = running
        if made > asked + 1 and place not in self._told:
            self._told.add(place)
            self.watch.facts.generations.append(LongGeneration(place=place, model=name, asked=asked, made=made))


def _generating(frame: FrameType | None, module: nn.Module) -> FrameType | None:
    """Return the outermost frame of a function called ``generate`` that belongs to ``module``."""
    found = None
    for _ in range(_DEPTH):
        if frame is None:
            break
        if frame.f_code.co_name == "generate" and any(value is module for value in frame.f_locals.values()):
            found = frame
        frame = frame.f_back
    return found


def _asked(frame: FrameType) -> int | None:
    """Return the number of tokens that a call of ``generate`` was asked for; None if it cannot be counted in calls."""
    names = frame.f_locals
    given = {**names, **(names["kwargs"] if isinstance(names.get("kwargs"), dict) else {})}
    settings = getattr(given.get("generation_config"), "__dict__", {})
    if any(given.get(name) or settings.get(name) for name in _SEVERAL_CALLS):
        return None
    asked = given.get("max_new_tokens")
    return int(asked) if isinstance(asked, int) and asked > 0 else None
