"""``estimate SCRIPT`` and ``estimate --tape``: rehearse or load, estimate, and rehearse a larger batch."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trainworthy._api.estimate import estimate_result
from trainworthy._api.estimate_machine import is_cpu, machine_named, without_this
from trainworthy.cli.estimate import DEFAULT_GPU, amounts_of
from trainworthy.cli.largest_batch import BatchOption, Search, search_batches, search_dict
from trainworthy.cli.rehearse import Request
from trainworthy.errors import UsageError
from trainworthy.estimate.result import Estimate, WhatIf
from trainworthy.inspect import summarize_ranks

if TYPE_CHECKING:
    from trainworthy.estimate.amounts import Amounts
    from trainworthy.inspect import RehearsalResult
    from trainworthy.tape.record import Tape

_QUICK_S = 30.0  # a rehearsal that took longer is not repeated for a what-if


def estimate_script(options: argparse.Namespace, target: str, args: tuple[str, ...]) -> list[Estimate]:
    """Rehearse a script for every machine and estimate its step."""
    amounts = amounts_of(options)
    return [_Script(options, target, args, name, amounts).estimate() for name in _machines(options)]


def estimate_tape_files(options: argparse.Namespace) -> list[Estimate]:
    """Estimate the step that tapes hold."""
    amounts = amounts_of(options)
    for name in ("find_largest_batch", "find_longest_sequence", "world_size", "rank", "ranks", "module"):
        if getattr(options, name) is not None:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{option} needs a script; a tape is what it is.",
                where=option,
                fix="Pass the script instead of --tape.",
            )
    result = summarize_ranks([_load(path) for path in options.tape], assume_others=True)
    names: list[str | None] = [*_machines(options)] if options.gpu else [None]
    return [
        estimate_result(
            result, gpu=name, mode=options.mode, amounts=amounts, link=options.link,
            network_gbit_per_s=options.network_gbit_s, what_ifs=options.what_ifs != "none", source="tape",
        )
        for name in names
    ]  # fmt: skip


def _machines(options: argparse.Namespace) -> list[str]:
    names = [without_this(name.strip()) for name in (options.gpu or DEFAULT_GPU).split(",") if name.strip()]
    if not names:
        raise UsageError("--gpu names no machine.", where="--gpu", fix="`trainworthy gpus` lists them.")
    for name in names:
        machine_named(name)  # refuses an unknown name before anything is rehearsed
    return names


def _load(path: str) -> Tape:
    from trainworthy._api.record import load_tape

    try:
        return load_tape(path)
    except OSError as error:
        raise UsageError(f"{path!r} cannot be read: {error.strerror}.", where="--tape") from error


class _Script:
    """One script on one machine."""

    def __init__(
        self, options: argparse.Namespace, target: str, args: tuple[str, ...], name: str, amounts: Amounts
    ) -> None:
        self._options, self._name, self._amounts = options, name, amounts
        own = argparse.Namespace(**{**vars(options), "gpu": None if is_cpu(name) else name})
        self._request = Request(own, target, args)
        self._request.imitate_cpu = is_cpu(name)
        self._gpu = self._request.gpus[0]

    def estimate(self) -> Estimate:
        """Rehearse and estimate."""
        options = self._options
        searched = self._searches()
        result = self._request.rehearse(self._gpu)
        found = self._of(result, what_ifs=options.what_ifs != "none")
        if options.what_ifs == "rehearsed":
            found = dataclasses.replace(found, what_ifs=_ranked([*found.what_ifs, *self._larger_batch(found, result)]))
        return dataclasses.replace(found, **searched)

    def _of(self, result: RehearsalResult, *, what_ifs: bool) -> Estimate:
        options = self._options
        return estimate_result(
            result, gpu=self._name, mode=options.mode, amounts=self._amounts, link=options.link,
            network_gbit_per_s=options.network_gbit_s, what_ifs=what_ifs,
        )  # fmt: skip

    def _searches(self) -> dict[str, Any]:
        """Search for the largest batch and the longest sequence, if asked to."""
        options = self._options
        found: dict[str, Any] = {}
        if options.find_largest_batch is not None:
            option = BatchOption.named(options.find_largest_batch, self._request)
            found["largest_batch"] = self._searched("batch", option)
        if options.find_longest_sequence is not None:
            option = BatchOption.named(options.find_longest_sequence, self._request, where="--find-longest-sequence")
            found["longest_sequence"] = self._searched("sequence", option)
        return found

    def _searched(self, name: str, option: BatchOption) -> dict[str, Any]:
        search: Search = search_batches(self._request, self._gpu, option)
        about = search_dict(search)
        best = search.runs.get(search.fits)
        rate = None if best is None else self._of(best, what_ifs=False)
        return {
            name: about["largest_batch"], "option": option.name, "every_one_fits": about["every_batch_fits"],
            "step_time_s": _expected(rate, "step_time_s"), "samples_per_s": _expected(rate, "samples_per_s"),
            "tokens_per_s": _expected(rate, "tokens_per_s"), "runs": about["runs"],
        }  # fmt: skip

    def _larger_batch(self, base: Estimate, result: RehearsalResult) -> list[WhatIf]:
        """Rehearse twice the batch where the script has an option for it and the rehearsal is quick."""
        if result.error is not None or (result.seconds or 0) > _QUICK_S or base.samples_per_s is None:
            return []
        now = _batch(result)
        try:
            option = BatchOption.named("", self._request)
        except UsageError:
            return []
        if now is None:
            return []
        larger = self._request.rehearse(self._gpu, option.with_value(2 * now))
        found = self._of(larger, what_ifs=False)
        if larger.error is not None or found.step_time_s is None or found.samples_per_s is None:
            return []
        if (found.samples_per_step or 0) <= (base.samples_per_step or 0):
            return []
        change = None
        if base.needed_memory_bytes is not None and found.needed_memory_bytes is not None:
            change = round(found.needed_memory_bytes.expected - base.needed_memory_bytes.expected)
        return [
            WhatIf(
                name="batch", title=f"batch {2 * now:,} instead of {now:,}", step_s=found.step_time_s.expected,
                speedup=found.samples_per_s.expected / base.samples_per_s.expected, memory_change_bytes=change,
                fits=found.fits, origin="rehearsed", how=f"{option.name} {2 * now}", note="rehearsed with that batch",
            )
        ]  # fmt: skip


def _batch(result: RehearsalResult) -> int | None:
    """Return the batch of the script's loader."""
    sizes = {each["batch_size"] for each in result.tape.notes.get("loading") or () if each.get("batch_size")}
    return sizes.pop() if len(sizes) == 1 else None


def _ranked(what_ifs: Sequence[WhatIf]) -> tuple[WhatIf, ...]:
    return tuple(sorted(what_ifs, key=lambda each: (-round(each.speedup, 2), each.memory_change_bytes or 0)))


def _expected(estimate: Estimate | None, name: str) -> float | None:
    quantity = None if estimate is None else getattr(estimate, name)
    return None if quantity is None else quantity.expected
