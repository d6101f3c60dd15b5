"""Tapes for tests: random ones that make sense, and ones recorded from small trainings."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st
from torch import nn

from trainworthy.tape.fold import fold
from trainworthy.tape.nodes import Leaf, Node, Repeat, leaves
from trainworthy.tape.record import (
    COLLECTIVE_KINDS,
    KINDS,
    PHASES,
    Collective,
    ModuleInfo,
    ParameterGroup,
    ProcessGroup,
    Row,
    Segment,
    Signature,
    Source,
    StorageClass,
    Tape,
    TensorMeta,
)
from trainworthy.virtual.gpu import VirtualGpu
from zoo.small import CASES, train_step

# --- recorded ------------------------------------------------------------------------------------------------------


@cache
def recorded_case(name: str, steps: int = 2) -> Tape:
    """Record a training of ``zoo.small`` on the virtual GPU."""
    with VirtualGpu() as gpu:
        case = CASES[name]("cuda")
        optimizer = case.make_optimizer(case.model.parameters())
        for _ in range(steps):
            train_step(case, optimizer)
    return gpu.tape()


class Block(nn.Module):
    """A transformer block that shares nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        out: torch.Tensor = x + self.mlp(self.norm(x))
        return out


@cache
def recorded_depth(layers: int) -> Tape:
    """Record two AdamW steps of a model of ``layers`` blocks."""
    with VirtualGpu() as gpu:
        model = nn.Sequential(nn.Linear(8, 64), *(Block(64) for _ in range(layers)), nn.Linear(64, 3)).cuda()
        optimizer = torch.optim.AdamW(model.parameters())
        for _ in range(2):
            loss = model(torch.randn(2, 16, 8, device="cuda")).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return gpu.tape()


# --- measures ------------------------------------------------------------------------------------------------------


def unfolded(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    return tuple(leaves(nodes))


def unfold_tape(tape: Tape) -> Tape:
    """Return the same tape without blocks."""
    segments = tuple(s._replace(nodes=unfolded(s.nodes)) for s in tape.segments)
    return Tape(**{**vars_of(tape), "segments": segments})


def vars_of(tape: Tape) -> dict[str, Any]:
    return {name: getattr(tape, name) for name in tape.__dataclass_fields__}


def count_nodes(nodes: tuple[Node, ...]) -> int:
    return sum(1 if isinstance(node, Leaf) else 1 + count_nodes(node.body) for node in nodes)


def depth(nodes: tuple[Node, ...]) -> int:
    return max((1 + depth(node.body) for node in nodes if isinstance(node, Repeat)), default=0)


# --- random --------------------------------------------------------------------------------------------------------

sizes = st.integers(0, 2**40)
texts = st.text(max_size=8)
_metas = st.builds(
    lambda pairs, dtype, device: TensorMeta(tuple(p[0] for p in pairs), tuple(p[1] for p in pairs), dtype, device),
    st.lists(st.tuples(st.integers(0, 512), st.integers(0, 2**20)), max_size=4),
    st.sampled_from(["float32", "bfloat16"]),
    st.sampled_from(["cuda:0", "cpu"]),
)
_collectives = st.builds(
    Collective, st.sampled_from(COLLECTIVE_KINDS), st.just(0), sizes, sizes, texts, st.none() | texts,
    st.none() | st.integers(0, 512), st.booleans(),
)  # fmt: skip
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | texts,
    lambda v: st.lists(v, max_size=3) | st.lists(v, max_size=3).map(tuple) | st.dictionaries(texts, v, max_size=3),
    max_leaves=6,
)
_notes = st.dictionaries(texts, _values, max_size=3)


class _OpPlan(NamedTuple):
    """One operation of a random program; ``uses`` and ``kills`` count back from the newest living storage."""

    name: str
    flops: int | None
    place: tuple[int, int, int]  # phase, module, source
    births: tuple[int, ...]
    uses: tuple[int, ...]
    kills: tuple[int, ...]


_plans = st.builds(
    _OpPlan,
    st.sampled_from(["mm", "add", "_foreach_add_"]),
    st.none() | sizes,
    st.tuples(st.integers(0, len(PHASES) - 1), st.integers(0, 2), st.integers(0, 1)),
    st.lists(st.integers(0, 2), max_size=3).map(tuple),
    st.lists(st.integers(0, 9), max_size=3).map(tuple),
    st.lists(st.integers(0, 9), max_size=2).map(tuple),
)
_loops = st.recursive(_plans, lambda p: st.tuples(st.integers(1, 4), st.lists(p, min_size=1, max_size=4)), max_leaves=8)


class _Program:
    """Carries out plans: every storage is born once, used while alive, and dies at most once."""

    def __init__(self, metas: list[TensorMeta], classes: list[StorageClass], modules: list[str]) -> None:
        self.metas, self.classes, self.modules = metas, classes, modules
        self.signatures: dict[Signature, int] = {}
        self.rows: dict[Row, int] = {}
        self.alive: list[tuple[int, int]] = []
        self.born = 0

    def run(self, plan: Any, index: int = 0) -> list[Leaf]:
        if isinstance(plan, _OpPlan):
            return [self._op(plan, index)]
        count, body = plan
        return [leaf for k in range(count) for part in body for leaf in self.run(part, k)]

    def _op(self, plan: _OpPlan, index: int) -> Leaf:
        phase, module, source = plan.place
        born = [(self.born + i, which) for i, which in enumerate(plan.births)]
        self.born += len(born)
        self.alive += born
        used = [self.alive[-1 - back % len(self.alive)][0] for back in plan.uses if self.alive]
        dead = [self.alive.pop(-1 - back % len(self.alive)) for back in plan.kills if self.alive]
        inputs = tuple(self.metas[n % len(self.metas)] for n, _ in enumerate(used))
        outputs = tuple(self.metas[which % len(self.metas)] for _, which in born)
        signature = Signature(plan.name, inputs, outputs, plan.flops, 1, 2, 3, len(used))
        row = Row(
            self.signatures.setdefault(signature, len(self.signatures)), phase, module, source,
            tuple(which for _, which in born), tuple(which for _, which in dead),
        )  # fmt: skip
        numbers = [n for n, _ in born]
        holes = [index] * self.modules[module].count("{}")
        ints = (*holes, *used, *numbers, *numbers, *(n for n, _ in dead))
        return Leaf(self.rows.setdefault(row, len(self.rows)), ints)


@st.composite
def tapes(draw: st.DrawFn) -> Tape:
    """Draw a tape that makes sense, with repeats in it, folded."""
    modules = ["", "h.{}.attn", draw(st.text("abc.", max_size=4)) + "{}.{}"]
    classes = [
        StorageClass(device, kind, draw(st.integers(0, 5000)), "empty", 0, n % 3)
        for n, (device, kind) in enumerate(draw(st.lists(
            st.tuples(st.sampled_from(["cuda:0", "cpu"]), st.sampled_from(KINDS)), min_size=3, max_size=3)))
    ]  # fmt: skip
    program = _Program(draw(st.lists(_metas, min_size=1, max_size=3)), classes, modules)
    segments = [
        Segment(step, draw(st.booleans()), fold([leaf for plan in plans for leaf in program.run(plan)]))
        for step, plans in enumerate(draw(st.lists(st.lists(_loops, max_size=4), max_size=3)))
    ]
    signatures = list(program.signatures)
    if signatures:
        signatures.append(signatures[0]._replace(collective=draw(_collectives)))
    return Tape(
        signatures=tuple(signatures), sources=(Source("", 0), Source(draw(texts), 3, "f", draw(st.none() | texts))),
        modules=tuple(modules), classes=tuple(classes), rows=tuple(program.rows), segments=tuple(segments),
        device="cuda:0", granularity_bytes=draw(st.sampled_from([1, 512])), model=tuple(draw(_models)),
        parameter_groups=(ParameterGroup(optimizer="SGD", dtype="f", device="cpu", layout="x", tensors=1, elements=2),),
        groups=(ProcessGroup(draw(texts), tuple(draw(st.lists(st.integers(0, 7), max_size=3))), "nccl"),),
        notes=draw(_notes),
    )  # fmt: skip


_models = st.lists(
    st.builds(
        lambda name, n, shape, details: ModuleInfo(
            template="h.{}", class_name=name, count=n, first=(0,), last=(n,), parameters=n, output_shape=shape,
            details=details,
        ),
        texts, st.integers(1, 9), st.none() | st.lists(st.integers(0, 9), max_size=3).map(tuple), _notes,
    ),
    max_size=2,
)  # fmt: skip
