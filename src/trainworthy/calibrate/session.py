"""One calibration as it goes on: what was measured when, and what disturbed it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from trainworthy.calibrate.anchors import Anchors, Pace, pace_at, relative_paces, slowness
from trainworthy.calibrate.cold import ColdCosts
from trainworthy.calibrate.host_networks import Equation, HostNetworks
from trainworthy.calibrate.memory import page_fault_s_per_byte
from trainworthy.calibrate.probe import Call, Measured, probe_signature
from trainworthy.calibrate.schedule import Taken
from trainworthy.calibrate.timing import time_call
from trainworthy.errors import UsageError
from trainworthy.estimate.machine import Machine
from trainworthy.estimate.measured_kernels import base_times_s
from trainworthy.hardware.calibration import RefillPoint, ReusePoint

_MOST_DISTURBED = 0.2  # of the probes
_MEMORY_EVERY_S = 2.5  # again and again: what faults and caches cost in a virtual machine changes with the neighbours
_NETWORKS_EVERY_S = 2.5  # for the same reason: hosts of GPUs are virtual machines too


class _Stamped(NamedTuple):
    measured: Measured
    at_s: float


class Session:
    """Collects measurements turn by turn."""

    def __init__(self, *, device: str, progress: Callable[[str], None]) -> None:
        self.paces: list[Pace] = []
        self.faults: list[float] = []
        self._device = device
        self._progress = progress
        self._anchors = Anchors(device=device)
        self._stamped: list[_Stamped] = []
        self._refused: list[str] = []
        self._disturbed = 0
        self._cold = ColdCosts() if device == "cpu" else None
        self._networks = None if device == "cpu" else HostNetworks(device=device)
        self._next_sample_s = 0.0

    def begin_turn(self, name: str) -> None:
        """Look how fast the machine is just now."""
        self._progress(name)
        now = time.perf_counter()
        self.paces.append(self._anchors.pace(now))
        if now < self._next_sample_s:
            return
        if self._cold is not None:
            self.faults.append(page_fault_s_per_byte(budget_s=0.1))
            self._cold.sample()
            self._next_sample_s = time.perf_counter() + _MEMORY_EVERY_S
        if self._networks is not None:
            self._networks.sample()
            self._next_sample_s = time.perf_counter() + _NETWORKS_EVERY_S

    def networks(self) -> list[Equation]:
        """Return what a GPU's host took to train small networks; none of a CPU's, where kernels are in the way."""
        return [] if self._networks is None else self._networks.equations()

    def reuse(self) -> tuple[ReusePoint, ...]:
        """Return what distant data cost; nothing is known of a GPU's."""
        return () if self._cold is None else self._cold.reuse()

    def refill(self) -> tuple[RefillPoint, ...]:
        """Return what the host's own code and data cost once they are distant."""
        return () if self._cold is None else self._cold.refill()

    def measure(self, call: Call) -> None:
        """Time one probe. A GPU's kernels may refuse one (a type, a size, memory): that is told by `notes`."""
        try:
            signature = probe_signature(call)
            timing = time_call(call, device=self._device)
        except (RuntimeError, ValueError) as error:
            if self._device == "cpu":
                raise
            self._refused.append(str(error).strip().split("\n")[0][:120])
            return
        self._disturbed += timing.disturbed
        self._stamped.append(_Stamped(Measured(signature, timing.time_s), time.perf_counter()))

    def at_usual_pace(self, machine: Machine) -> list[Measured]:
        """Return what was measured as it would have been at the usual pace."""
        paces = relative_paces(self.paces)
        return [
            Measured(signature, time_s / slowness(pace_at(paces, at_s), base_times_s(signature, machine=machine)))
            for (signature, time_s), at_s in self._stamped
        ]

    def refuse_if_busy(self) -> None:
        """Refuse what a busy machine gave: such times would be believed later, and replace good ones.

        Raises:
            UsageError: If other processes interrupted more than a fifth of the probes at every try, or time was up
                before the first probe.
        """
        if not self._stamped:
            raise UsageError(
                "No probe could be made: bandwidth and the largest products took all of the time. Nothing was kept.",
                where="calibrate", fix="Repeat it when the machine is idle, or give it longer with --budget.",
            )  # fmt: skip
        share = self._disturbed / len(self._stamped)
        if share > _MOST_DISTURBED:
            raise UsageError(
                f"The machine is too busy to be measured: other processes interrupted {share:.0%} of "
                f"{len(self._stamped)} probes at every try. Nothing was kept.", where="calibrate",
                fix="Repeat it when the machine is idle, or leave some cores to the others with --threads.",
            )  # fmt: skip

    def notes(self, taken: Sequence[Taken], *, budget_s: float) -> Iterator[str]:
        """Say what was cut short, refused or disturbed."""
        cut = [f"{group.name} ({group.probes})" for group in taken if not group.finished]
        if cut:
            yield f"In {budget_s:.0f} s not all probes could be made; cut short: {', '.join(cut)}."
        if self._refused:
            yield f"{len(self._refused)} probes did not run here, the first with: {self._refused[0]}"
        if self._disturbed:
            share = self._disturbed / len(self._stamped)
            yield f"{share:.0%} of the probes were interrupted each time by other processes; their shortest counts."
