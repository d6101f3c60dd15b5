"""Activation checkpointing: what a layer keeps, what it costs to run it again."""

from __future__ import annotations

import argparse

from trainworthy.errors import UsageError
from trainworthy.explain.arguments import at_least
from trainworthy.explain.bars import Bar, bar_lines, bars_svg
from trainworthy.explain.drawing import Mark
from trainworthy.explain.explanation import Explanation, Formula
from trainworthy.explain.registry import subject
from trainworthy.formulas.activations import Checkpointing, checkpoint_every_bytes, layer_activation_bytes
from trainworthy.formulas.transformer import layer_flops_per_token
from trainworthy.units import format_bytes

_KINDS: tuple[Checkpointing, ...] = ("none", "selective", "full")

_FORMULAS = (
    Formula(
        text="none       s b h (34 + 5 a s/h) / t\nselective  34 s b h / t\nfull       2 s b h / t",
        source="Korthikanti et al., Reducing activation recomputation in large transformer models, 2022, "
        "table 2 (16-bit, dropout, tensor and sequence parallelism t)",
    ),
    Formula(
        text="segments of n layers: (L/n) inputs + n layers, least near n = sqrt(L)",
        source="Chen et al., Training deep nets with sublinear memory cost, 2016",
    ),
)
_NOTES = (
    "Model FLOPs (MFU) do not count what is done twice, hardware FLOPs (HFU) do.",
    "Pass use_reentrant=False; random numbers (dropout) are restored for the second pass, at some cost.",
    "A gated MLP without dropout keeps other tensors: `trainworthy rehearse` counts those of your model.",
)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--layers", type=at_least(1), default=96, help="default 96")
    parser.add_argument("--hidden", type=at_least(1), default=12288, help="default 12288")
    parser.add_argument("--heads", type=at_least(1), default=96, help="default 96")
    parser.add_argument("--sequence", type=at_least(1), default=2048, help="default 2048")
    parser.add_argument("--batch", type=at_least(1), default=1, help="of one micro-batch (default 1)")
    parser.add_argument("--tp", type=at_least(1), default=1, help="tensor-parallel ranks, with sequence parallelism")


@subject(
    "checkpointing",
    summary="activations kept and arithmetic repeated",
    group="cost",
    arguments=_arguments,
    examples=("--layers 96 --hidden 12288 --heads 96 --tp 8", "--layers 24 --hidden 1024 --heads 16 --batch 8"),
    aliases=("activation-checkpointing", "recomputation", "activations"),
)
def checkpointing(options: argparse.Namespace) -> Explanation:
    """Explain activation checkpointing."""
    for name in ("heads", "hidden", "sequence"):
        if getattr(options, name) % options.tp:
            raise UsageError(f"--tp {options.tp} does not divide --{name} {getattr(options, name)}.", where="--tp")
    if options.hidden % options.heads:
        raise UsageError(f"--heads {options.heads} does not divide --hidden {options.hidden}.", where="--heads")
    per_layer = {kind: _layer(options, kind) for kind in _KINDS}
    forward = layer_flops_per_token(
        sequence=options.sequence, hidden=options.hidden, ffn=4 * options.hidden, heads=options.heads
    )  # fmt: skip
    attention = 4 * options.sequence * options.hidden
    again = {"none": 0.0, "selective": attention / (3 * forward), "full": 1 / 3}
    full_peak = checkpoint_every_bytes(
        layers=options.layers, layer_bytes=per_layer["none"], input_bytes=per_layer["full"], segment=1
    )
    totals = {
        "none": options.layers * per_layer["none"],
        "selective": options.layers * per_layer["selective"],
        "full": full_peak,
    }
    marks: dict[Checkpointing, Mark] = {"none": "bad", "selective": "added", "full": "good"}
    bars = [Bar(kind, totals[kind], _words(totals[kind], again[kind]), marks[kind]) for kind in _KINDS]
    title = f"{options.layers} layers of {options.hidden}, {options.batch} x {options.sequence} tokens" + (
        f", TP {options.tp}" if options.tp > 1 else ""
    )
    return Explanation(
        title=title,
        result=f"{format_bytes(totals['none'])} without, {format_bytes(totals['selective'])} selective, "
        f"{format_bytes(totals['full'])} full (+{again['full']:.0%} arithmetic)",
        steps=_steps(options, per_layer, again, full_peak),
        diagram="\n".join(bar_lines(bars, cells=26)),
        svg=bars_svg(title, bars),
        formulas=_FORMULAS,
        notes=_NOTES,
        snippet=_snippet(),
        see_also=("adam-memory", "pipeline", "fsdp"),
        values={
            "layers": options.layers, "layer_bytes": per_layer, "total_bytes": totals, "extra_flops_share": again,
            "tensor_parallel": options.tp,
        },
    )  # fmt: skip


def _steps(
    options: argparse.Namespace, per_layer: dict[Checkpointing, int], again: dict[str, float], full_peak: int
) -> tuple[str, ...]:
    scores = 5 * options.heads * options.sequence / options.hidden
    working = per_layer["none"]
    return (
        f"One layer keeps s b h (34 + 5 a s/h) = {options.sequence} x {options.batch} x {options.hidden} x "
        f"(34 + {scores:.4g}) bytes{f' / {options.tp}' if options.tp > 1 else ''} = "
        f"{format_bytes(per_layer['none'])}.",
        "Selective: scores and softmax of the attention are not kept but computed again, 34 s b h = "
        f"{format_bytes(per_layer['selective'])} a layer. It saves {1 - per_layer['selective'] / working:.0%} for "
        f"{again['selective']:.1%} more arithmetic. Fused attention does the same by itself.",
        f"Full: only the input of a layer is kept, 2 s b h = {format_bytes(per_layer['full'])}; its forward pass "
        f"is done again before its backward pass. {options.layers} inputs and one layer at work: "
        f"{format_bytes(full_peak)}.",
        "A forward pass is a third of a step's arithmetic: doing it twice costs a third more.",
    )


def _words(num_bytes: int, again: float) -> str:
    return f"{format_bytes(num_bytes)}, {f'+{again:.1%}' if again else 'no more'} arithmetic"


def _layer(options: argparse.Namespace, kind: Checkpointing) -> int:
    return layer_activation_bytes(
        sequence=options.sequence, batch=options.batch, hidden=options.hidden, heads=options.heads,
        checkpointing=kind, tensor_parallel=options.tp, regions="tensor+sequence",
    )  # fmt: skip


def _snippet() -> str:
    return """\
import torch
from torch.utils.checkpoint import checkpoint

layer = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.GELU(),
                            torch.nn.Linear(32, 8))

def kept(run):  # bytes that the backward pass finds saved
    storages, weights = {}, {p.data_ptr() for p in layer.parameters()}
    def pack(t):
        s = t.untyped_storage()
        if s.data_ptr() not in weights:
            storages[s.data_ptr()] = s.nbytes()
        return t
    x = torch.ones(4, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        out = run(x)
    return sum(storages.values()), out

without, y = kept(layer)
full, z = kept(lambda x: checkpoint(layer, x, use_reentrant=False))
assert without == 4 * (8 + 32 + 32) * 4  # input, before and after GELU
assert full < without
assert torch.equal(y, z)"""
