"""Weights, gradients and optimizer states: how much memory training takes before any activation."""

from __future__ import annotations

import argparse

from trainworthy.explain.arguments import at_least, count
from trainworthy.explain.bars import Bar, bar_lines, bars_svg
from trainworthy.explain.explanation import Explanation, Formula
from trainworthy.explain.registry import subject
from trainworthy.formulas.memory import PRECISIONS, ModelStates, model_states
from trainworthy.formulas.optimizer_state import OPTIMIZERS, optimizer_bytes_per_parameter
from trainworthy.units import format_bytes, format_count, format_si

_MAKERS = {
    "sgd": "torch.optim.SGD([w], lr=0.1)",
    "sgd-momentum": "torch.optim.SGD([w], lr=0.1, momentum=0.9)",
    "adam": "torch.optim.Adam([w])",
    "adamw": "torch.optim.AdamW([w])",
    "adam-amsgrad": "torch.optim.Adam([w], amsgrad=True)",
    "adamax": "torch.optim.Adamax([w])",
    "rmsprop": "torch.optim.RMSprop([w])",
    "rmsprop-momentum": "torch.optim.RMSprop([w], momentum=0.9)",
    "rmsprop-centered-momentum": "torch.optim.RMSprop([w], momentum=0.9, centered=True)",
    "adagrad": "torch.optim.Adagrad([w])",
    "adadelta": "torch.optim.Adadelta([w])",
    "adafactor": "torch.optim.Adafactor([w])",
}
_STAGES = ("nothing", "optimizer states", "optimizer states and gradients", "states, gradients and weights")

_FORMULAS = (
    Formula(
        text="bytes = parameters x (weight + gradient + master copy + optimizer states)\n"
        "Adam, mixed precision: 2 + 2 + 4 + (4 + 4) = 16",
        source="Rajbhandari et al., ZeRO, 2020, section 3.1; state sizes: torch/optim/*.py (torch 2.13)",
    ),
    Formula(
        text="ZeRO 1 divides states and master by the ranks, 2 gradients too, 3 weights too",
        source="Rajbhandari et al., ZeRO, 2020, figure 1",
    ),
)
_NOTES = (
    "Activations, temporary copies and the CUDA context come on top; `trainworthy rehearse` counts them all.",
    "Optimizer state is made in the first step: the second step can run out of memory where the first did not.",
    "Under torch.autocast weights stay in float32 (--precision amp); only what is computed with is 16-bit.",
)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("parameters", nargs="?", type=count, default="7e9", help="7e9, 7b or 124M (default 7e9)")
    parser.add_argument("--optimizer", choices=tuple(OPTIMIZERS), default="adamw", help="default adamw")
    parser.add_argument("--precision", choices=tuple(PRECISIONS), default="mixed", help="default mixed")
    parser.add_argument("--zero", type=int, choices=(0, 1, 2, 3), default=0, help="ZeRO stage; FSDP is 3 (default 0)")
    parser.add_argument("--ranks", type=at_least(1), default=1, help="data-parallel ranks (default 1)")


@subject(
    "adam-memory",
    summary="memory of weights, gradients, optimizer states; ZeRO",
    group="cost",
    arguments=_arguments,
    examples=(
        "7e9", "7e9 --optimizer adam-8bit", "124M --precision amp --optimizer sgd-momentum",
        "70b --zero 3 --ranks 64", "8b --optimizer adafactor --precision bf16",
    ),
    aliases=("optimizer-memory", "optimizer-state", "model-states"),
)  # fmt: skip
def adam_memory(options: argparse.Namespace) -> Explanation:
    """Explain the memory of model states."""
    scheme = PRECISIONS[options.precision]
    rate = optimizer_bytes_per_parameter(optimizer=options.optimizer, bytes_per_element=scheme.state_element)
    states = _states(options, options.optimizer)
    per_parameter = scheme.weight + scheme.gradient + scheme.master + rate
    title = f"{format_count(options.parameters)} parameters, {options.optimizer}, {options.precision}"
    if options.zero or options.ranks > 1:
        title += f", ZeRO {options.zero} over {options.ranks} ranks"
    bars = _bars(options, states)
    others = [
        Bar(name, total := _states(options, name).total_bytes, format_bytes(total), "strong")
        for name in ("sgd", "sgd-momentum", "adafactor", "adam-8bit", "adamw")
    ]
    return Explanation(
        title=title,
        result=f"{format_bytes(states.total_bytes)} ({format_si(states.total_bytes, 'B')})"
        f"{' on each rank' if options.ranks > 1 else ''}: {per_parameter:.4g} bytes a parameter"
        f"{f', divided by ZeRO {options.zero}' if options.zero and options.ranks > 1 else ''}",
        steps=_steps(options, states, rate),
        diagram="\n".join([*bar_lines(bars), "", "the same with other optimizers", *bar_lines(others)]),
        svg=bars_svg(title, bars),
        formulas=_FORMULAS,
        notes=_NOTES,
        snippet=_snippet(options),
        see_also=("mixed-precision", "fsdp", "checkpointing"),
        values={
            "parameters": options.parameters, "optimizer": options.optimizer, "precision": options.precision,
            "zero_stage": options.zero, "ranks": options.ranks, "weight_bytes": states.weight_bytes,
            "gradient_bytes": states.gradient_bytes, "optimizer_bytes": states.optimizer_bytes,
            "total_bytes": states.total_bytes, "bytes_per_parameter": per_parameter,
        },
    )  # fmt: skip


def _states(options: argparse.Namespace, optimizer: str) -> ModelStates:
    element = PRECISIONS[options.precision].state_element
    return model_states(
        parameters=options.parameters, precision=options.precision, zero_stage=options.zero, ranks=options.ranks,
        optimizer_bytes_per_parameter=optimizer_bytes_per_parameter(optimizer=optimizer, bytes_per_element=element),
    )  # fmt: skip


def _bars(options: argparse.Namespace, states: ModelStates) -> list[Bar]:
    scheme = PRECISIONS[options.precision]
    whole = states.optimizer_bytes
    rate = optimizer_bytes_per_parameter(optimizer=options.optimizer, bytes_per_element=scheme.state_element)
    master = whole * scheme.master / (scheme.master + rate) if scheme.master else 0
    bars = [
        Bar("weights", states.weight_bytes, format_bytes(states.weight_bytes), "good"),
        Bar("gradients", states.gradient_bytes, format_bytes(states.gradient_bytes), "added"),
        Bar("master copy", master, format_bytes(master), "strong"),
        Bar("optimizer", whole - master, format_bytes(whole - master), "bad"),
    ]
    return [bar for bar in bars if bar.amount]


def _steps(options: argparse.Namespace, states: ModelStates, rate: float) -> tuple[str, ...]:
    scheme = PRECISIONS[options.precision]
    n = format_count(options.parameters)
    steps = [
        f"{options.precision}: {scheme.what}.",
        f"Weights: {scheme.weight:g} B each; gradients: {scheme.gradient:g} B each"
        + (f"; master copy: {scheme.master:g} B each." if scheme.master else "; no master copy."),
        f"{options.optimizer} keeps {OPTIMIZERS[options.optimizer].what}: {rate:.4g} B a parameter"
        + (" (of a 4096 x 4096 matrix)." if options.optimizer == "adafactor" else "."),
        f"{n} x ({scheme.weight:g} + {scheme.gradient:g} + {scheme.master:g} + {rate:.4g}) B = "
        f"{format_bytes(_whole(options))}.",
    ]
    if options.zero and options.ranks > 1:
        steps.append(
            f"ZeRO {options.zero} divides {_STAGES[options.zero]} by {options.ranks}: "
            f"{format_bytes(states.total_bytes)} on each rank."
        )
    return tuple(steps)


def _whole(options: argparse.Namespace) -> int:
    alone = argparse.Namespace(**{**vars(options), "zero": 0, "ranks": 1})
    return _states(alone, options.optimizer).total_bytes


def _snippet(options: argparse.Namespace) -> str:
    scheme = PRECISIONS[options.precision]
    maker = _MAKERS.get(options.optimizer)
    if maker is None:
        per_parameter = optimizer_bytes_per_parameter(optimizer=options.optimizer)
        what = "8-bit values and a float32 scale for 256" if options.optimizer == "adam-8bit" else "momentum in float32"
        value = "2 * (1 + 4 / 256)" if options.optimizer == "adam-8bit" else "4"
        return f"# bytes: {what}\nper_parameter = {value}\nassert per_parameter == {per_parameter:g}"
    dtype = "bfloat16" if scheme.state_element == 2 else "float32"
    rate = optimizer_bytes_per_parameter(
        optimizer=options.optimizer, bytes_per_element=scheme.state_element, shape=(64, 64)
    )  # fmt: skip
    return "\n".join([
        "import torch",
        "",
        f"w = torch.ones(64, 64, dtype=torch.{dtype}, requires_grad=True)",
        f"optimizer = {maker}",
        "w.sum().backward()",
        "optimizer.step()",
        "kept = [t for t in optimizer.state[w].values()",
        "        if torch.is_tensor(t) and t.dim()]  # the step counter has none",
        "num_bytes = sum(t.numel() * t.element_size() for t in kept)",
        f"assert num_bytes / w.numel() == {rate:g}  # bytes a parameter",
    ])  # fmt: skip
