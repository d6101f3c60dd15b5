"""Small tapes made by hand, without torch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from trainworthy.tape.fold import fold
from trainworthy.tape.nodes import Leaf, Node, leaves
from trainworthy.tape.record import (
    PHASES,
    Collective,
    Kind,
    ModuleInfo,
    ParameterGroup,
    Phase,
    ProcessGroup,
    Row,
    Segment,
    Signature,
    Source,
    StorageClass,
    Tape,
    TensorMeta,
)

Born = tuple[Kind, int]  # what for, and bytes

MIB = 1 << 20


class TapeBuilder:
    """Adds operations one by one; ``op`` returns the numbers of the storages that it made."""

    def __init__(self, *, device: str = "cuda:0", granularity_bytes: int = 512) -> None:
        self.device = device
        self.granularity_bytes = granularity_bytes
        self._signatures: dict[Signature, int] = {}
        self._sources: dict[Source, int] = {}
        self._modules: dict[str, int] = {"": 0}
        self._classes: dict[StorageClass, int] = {}
        self._rows: dict[Row, int] = {}
        self._steps: dict[int, list[Leaf]] = {}
        self._next_number = 0

    def op(
        self,
        name: str,
        *,
        module: str = "",
        numbers: tuple[int, ...] = (),
        line: int = 1,
        phase: Phase = "forward",
        step: int = 1,
        shape_in: tuple[int, ...] = (4, 4),
        shape_out: tuple[int, ...] = (4, 4),
        reads: tuple[int, ...] = (),
        flops: int | None = 0,
        pointwise_flops: int = 0,
        recompute_flops: int = 0,
        moved_bytes: int = 64,
        host_syncs: int = 0,
        collective: Collective | None = None,
        births: tuple[Born, ...] = (),
        deaths: tuple[int, ...] = (),
        device: str | None = None,
        path: str = "train.py",
    ) -> tuple[int, ...]:
        """Add an operation; its outputs are the storages that it makes."""
        where = device or self.device
        metas_in = tuple(TensorMeta(shape_in, (1,) * len(shape_in), "float32", where) for _ in reads)
        metas_out = tuple(TensorMeta(shape_out, (1,) * len(shape_out), "float32", where) for _ in births)
        signature = Signature(
            name, metas_in, metas_out, flops, pointwise_flops, recompute_flops, moved_bytes, host_syncs, collective
        )
        source = self._intern(self._sources, Source(path, line, "step"))
        place = self._intern(self._modules, module)
        classes = tuple(
            self._intern(self._classes, StorageClass(where, kind, size, name, source, place)) for kind, size in births
        )
        dead = tuple(self._class_of[number] for number in deaths)
        row = Row(self._intern(self._signatures, signature), PHASES.index(phase), place, source, classes, dead)
        born = tuple(range(self._next_number, self._next_number + len(births)))
        self._next_number += len(births)
        self._class_of.update(zip(born, classes, strict=True))
        ints = (*numbers, *reads, *born, *born, *deaths)
        self._steps.setdefault(step, []).append(Leaf(self._intern(self._rows, row), ints))
        return born

    @property
    def _class_of(self) -> dict[int, int]:
        known: dict[int, int] = self.__dict__.setdefault("_numbers", {})
        return known

    @staticmethod
    def _intern(table: dict[Any, int], value: Any) -> int:
        return table.setdefault(value, len(table))

    def build(
        self,
        *,
        model: tuple[ModuleInfo, ...] = (),
        parameter_groups: tuple[ParameterGroup, ...] = (),
        groups: tuple[ProcessGroup, ...] = (),
        complete: bool = True,
        **notes: Any,
    ) -> Tape:
        """Fold what was added."""
        segments = tuple(
            Segment(step, complete or step == 0, fold(list[Node](ops))) for step, ops in sorted(self._steps.items())
        )
        return Tape(
            signatures=tuple(self._signatures),
            sources=tuple(self._sources),
            modules=tuple(self._modules),
            classes=tuple(self._classes),
            rows=tuple(self._rows),
            segments=segments,
            device=self.device,
            granularity_bytes=self.granularity_bytes,
            model=model,
            parameter_groups=parameter_groups,
            groups=groups,
            notes=notes,
        )


def unfolded(tape: Tape) -> Tape:
    """Return the same tape with every repetition written out."""
    return replace(tape, segments=tuple(s._replace(nodes=tuple(leaves(s.nodes))) for s in tape.segments))


def small_training(*, layers: int = 3, activation_bytes: int = 8 * MIB, **notes: Any) -> Tape:
    """Two steps of a stack of equal layers and a head: forward, loss, backward, AdamW."""
    tape = TapeBuilder()
    weight = 4 * MIB
    weights = [
        tape.op(
            "randn", step=0, phase="other", line=3, module="layers.{}.fc", numbers=(n,), births=(("parameter", weight),)
        )[0]
        for n in range(layers)
    ]
    (head,) = tape.op("randn", step=0, phase="other", line=4, births=(("parameter", weight),), module="head")
    for step in (1, 2):
        (x,) = tape.op("copy", step=step, phase="data", line=10, births=(("input", 2 * MIB),))
        _one_step(tape, step=step, x=x, weights=weights, head=head, size=activation_bytes)
    model = (
        ModuleInfo(template="Net", class_name="Net", output_shape=(32, 10)),
        ModuleInfo(template="layers.{}", class_name="Layer", count=layers, first=(0,), last=(layers - 1,),
                   output_shape=(32, 1024)),
        ModuleInfo(template="layers.{}.fc", class_name="Linear", count=layers, first=(0,), last=(layers - 1,),
                   output_shape=(32, 1024), parameters=1 << 20, trainable_parameters=1 << 20, parameter_bytes=weight),
        ModuleInfo(template="head", class_name="Linear", output_shape=(32, 10), parameters=1 << 20,
                   trainable_parameters=1 << 20, parameter_bytes=weight),
    )  # fmt: skip
    groups = (
        ParameterGroup(optimizer="AdamW", dtype="float32", device="cuda:0", layout="contiguous",
                       tensors=layers + 1, elements=(layers + 1) << 20),
    )  # fmt: skip
    about = {
        "gpu": "test-gpu", "gpu_name": "Test GPU", "driver_memory_bytes": 16 << 30, "context_bytes": 400 * MIB,
        "script": "train.py", "arguments": ["--lr", "0.1"], "seconds": 1.5, "workspace_bytes": 8_519_680,
        "assumptions": ["a value read from the device is assumed to be 1.0 (train.py:16)"], "steps_asked": 2,
    }  # fmt: skip
    return tape.build(model=model, parameter_groups=groups, **{**about, **notes})


def _one_step(tape: TapeBuilder, *, step: int, x: int, weights: list[int], head: int, size: int) -> None:
    saved = []
    last = x
    for n, weight in enumerate(weights):
        (last,) = tape.op("addmm", module="layers.{}.fc", numbers=(n,), line=12, step=step, reads=(weight, last),
                          flops=1000, moved_bytes=500, births=(("activation", size),))  # fmt: skip
        (last,) = tape.op("relu", module="layers.{}", numbers=(n,), line=13, step=step, reads=(last,),
                          pointwise_flops=10, moved_bytes=100, births=(("activation", size),))  # fmt: skip
        saved.append((last - 1, last))
    (loss,) = tape.op("mm", module="head", line=14, phase="loss", step=step, reads=(head, last), flops=50,
                      births=(("temporary", 512),))  # fmt: skip
    (gradient,) = tape.op("ones_like", line=15, phase="backward", step=step, reads=(loss,), deaths=(loss,),
                          births=(("temporary", size),))  # fmt: skip
    gradients = []
    for n in reversed(range(len(weights))):
        one, two = saved[n]
        made = tape.op("mm", module="layers.{}.fc", numbers=(n,), line=12, phase="backward", step=step,
                       reads=(gradient, one), flops=2000, moved_bytes=900, deaths=(one, two, gradient),
                       births=(("gradient", 4 * MIB), ("temporary", size)))  # fmt: skip
        gradients.append(made[0])
        gradient = made[1]
    if step == 1:
        tape.op("zeros_like", line=16, phase="optimizer", step=step,
                         births=tuple(("optimizer_state", 4 * MIB) for _ in range(2 * len(weights))))  # fmt: skip
    tape.op("_foreach_add_", line=16, phase="optimizer", step=step, reads=(gradients[0],), pointwise_flops=40,
            moved_bytes=1000, deaths=(*gradients, gradient, x))  # fmt: skip
    tape.op("item", line=17, phase="other", step=step, host_syncs=1, flops=None, moved_bytes=4)
