"""The smaller parts of a look, put together: ranks, checkpoints, schedules, initialisation, precision, units."""

from __future__ import annotations

from typing import Any

import torch

from trainworthy.check.finding import Place
from trainworthy.check.live import copies
from trainworthy.check.live.applied import APPLIED, AppliedWatch
from trainworthy.check.live.attributes import AttributeWatch
from trainworthy.check.live.autocasting import MULTIPLICATIONS, AutocastWatch
from trainworthy.check.live.backward import BackwardWatch
from trainworthy.check.live.collating import CollateWatch
from trainworthy.check.live.collectives import CollectiveWatch
from trainworthy.check.live.datasets import DatasetWatch
from trainworthy.check.live.generation import GenerationWatch
from trainworthy.check.live.hiding import HidingWatch
from trainworthy.check.live.initialising import ApplyWatch
from trainworthy.check.live.loaders import LoaderWatch
from trainworthy.check.live.lone import LoneWatch
from trainworthy.check.live.memory import MemoryWatch
from trainworthy.check.live.modules import ModuleWatch
from trainworthy.check.live.operators import OperatorWatch
from trainworthy.check.live.padded import PaddedWatch
from trainworthy.check.live.plans import PlanWatch
from trainworthy.check.live.replicas import ReplicaWatch
from trainworthy.check.live.saves import SaveWatch
from trainworthy.check.live.schedulers import SchedulerWatch
from trainworthy.check.live.spectral import SpectralWatch
from trainworthy.check.live.units import ONE_SIDED, UnitWatch
from trainworthy.check.live.watch import Part, Watch


class Surroundings:
    """Connects its parts to what the larger ones see.

    Attributes:
        parts: Those that have a seam of their own.
        collectives: The one that may end a look early.
        applies: The one that knows whose turn it is to initialise.
        collates, datasets: Those that call functions of the user.
        saves: The one that must be told what trains.
        padded: The one that looks at targets.
    """

    def __init__(
        self,
        watch: Watch,
        modules: ModuleWatch,
        operators: OperatorWatch,
        backward: BackwardWatch,
        loaders: LoaderWatch,
    ) -> None:
        self.watch = watch
        self.collectives = CollectiveWatch(watch)
        self.applies = ApplyWatch(watch)
        self.collates = CollateWatch(watch)
        self.datasets = DatasetWatch(watch)
        self.saves = SaveWatch(watch)
        self.padded = PaddedWatch(watch, operators)
        lone = LoneWatch(watch, operators)
        lone.texts = lambda: loaders.texts
        operators.on_single = lambda *call: watch.attempt("single samples", lone.met, *call)
        self._replicas = ReplicaWatch(watch)
        self._generations = GenerationWatch(watch)
        self._plans = PlanWatch(watch)
        self._autocasts = AutocastWatch(watch)
        self._attributes = AttributeWatch(watch)
        self._units = UnitWatch(watch)
        self._applied = AppliedWatch(watch)
        self._schedulers = SchedulerWatch(watch)
        self._plans.stepped_at = self._schedulers.stepped_at
        self._memory = MemoryWatch(watch)
        self._tested: set[torch.device] = set()
        self.parts: list[Part] = [
            self.collectives, self.collates, self.saves, self.applies, self._attributes, self._autocasts,
            self._schedulers, loaders.samplers,
        ]  # fmt: skip
        modules.on_root += [
            self._replicas.module_called, self.collectives.module_called, self._generations.module_called,
            SpectralWatch(watch).module_called,
            lambda *call: watch.attempt("single samples", lone.module_called, *call),
        ]  # fmt: skip
        backward.on_backward.append(self.collectives.backward_begins)
        backward.on_end.append(self._replicas.backward_ended)
        operators.on_result = self._result
        operators.on_mask = HidingWatch(watch).see
        loaders.on_begin += [self.datasets.begins, self.collates.begins]
        loaders.on_epoch.append(self._plans.loader_begins)
        loaders.on_batch.append(self._plans.batch_given)

    def _result(self, name: str, args: tuple[Any, ...], out: torch.Tensor, source: int, module: Any) -> None:
        if name in ONE_SIDED:
            self._units.activated(name, module, out, source)
        elif name in MULTIPLICATIONS:
            self._autocasts.multiplied(name, args, out, source)
        elif name == "gather":
            self.padded.gathered(args, out, source)
        elif name in APPLIED:
            self._applied.applied(name, args, out, source, module)

    def step_ends(self, place: Place, parameters: list[torch.Tensor]) -> None:
        """Look at what needs a whole step; ``parameters`` are those that optimizers step."""
        self._generations.finish()
        self._units.step_ends()
        self._plans.step_ends(place)
        self._schedulers.step_ends(place)
        self._memory.step_ends(place)
        self._attributes.step_ends()
        self._replicas.step_ends(place, parameters)
        if self.watch.step < 2:
            self.watch.attempt("copies between devices", self._test_copies, parameters)

    def _test_copies(self, parameters: list[torch.Tensor]) -> None:
        devices = copies.used_devices(parameters)
        if len(devices) > 1 and set(devices) - self._tested:
            self._tested |= set(devices)
            self.watch.facts.copy_faults += copies.copy_faults(devices, self.watch.facts.home)

    def finish(self) -> None:
        """Write down what lasted."""
        self._generations.finish()
        self._autocasts.finish()
        self._attributes.finish()
        self._schedulers.finish()
        self._units.finish()
        self._replicas.finish()
        self.collectives.finish()
