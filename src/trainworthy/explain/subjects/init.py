"""Initialisation: Xavier and Kaiming."""

from __future__ import annotations

import argparse
from math import prod

from trainworthy.errors import UsageError
from trainworthy.explain.arguments import number, shape
from trainworthy.explain.drawing import Grid, Mark, columns, grids_svg
from trainworthy.explain.explanation import Explanation, Formula
from trainworthy.explain.registry import subject
from trainworthy.formulas.checks import Shape, shape_text
from trainworthy.formulas.initialisation import Spread, fans, gain, spread

_FORMULA = Formula(
    text="fan_in = in / groups * prod(kernel)     fan_out = out * prod(kernel)\n"
    "xavier   std = gain * sqrt(2 / (fan_in + fan_out))\n"
    "kaiming  std = gain / sqrt(fan)     fan_in for activations, fan_out gradients\n"
    "uniform  bound = std * sqrt(3)",
    source="Glorot and Bengio 2010, equation 16; He et al. 2015 (arXiv 1502.01852), equations 10 and 14; torch.nn.init "
    "(torch 2.13)",
)
_ACTIVATIONS = ("linear", "relu", "leaky_relu", "tanh", "sigmoid", "selu")
_MOST_DRAWN = 2_000_000


def _arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "shape",
        nargs="?",
        type=shape,
        default=None,
        metavar="SHAPE",
        help='of the weight, (out, in, *kernel), such as "(64,3,7,7)"',
    )
    add("--scheme", choices=("kaiming", "xavier"), default="kaiming", help="(default: kaiming)")
    add("--distribution", choices=("uniform", "normal"), default="uniform", help="(default: uniform)")
    add("--mode", choices=("fan_in", "fan_out"), default="fan_in", help="for kaiming (default: fan_in)")
    add("--activation", choices=_ACTIVATIONS, default=None, help="(default: relu for kaiming, linear for xavier)")
    add("--slope", type=number, default=None, metavar="A", help="negative slope of leaky_relu (default: 0.01)")


@subject(
    "init",
    summary="Xavier and Kaiming: fans, gain, width of the distribution",
    group="numbers",
    arguments=_arguments,
    examples=(
        '"(64,3,7,7)" --mode fan_out --distribution normal', '"(512,512)" --scheme xavier --activation tanh',
        '"(10,512)" --activation leaky_relu --slope 2.2360679775',
    ),
    aliases=("initialisation", "initialization", "kaiming", "xavier", "glorot", "he-init", "fan-in", "gain"),
)  # fmt: skip
def init(options: argparse.Namespace) -> Explanation:
    """Explain an initialisation."""
    weight: Shape = (512, 512) if options.shape is None else options.shape
    activation = options.activation or ("relu" if options.scheme == "kaiming" else "linear")
    if options.slope is not None and activation != "leaky_relu":
        raise UsageError("--slope belongs to --activation leaky_relu.", where="--slope")
    if options.slope is not None and abs(options.slope) > 1e6:
        raise UsageError(f"A slope of {options.slope:g} is out of range.", where="--slope")
    scale = gain(activation=activation, slope=options.slope)
    fan_in, fan_out = fans(shape=weight)
    found = spread(
        shape=weight, scheme=options.scheme, distribution=options.distribution, mode=options.mode, gain=scale
    )
    wide = f"uniform in +-{found.bound:.6g}" if found.bound is not None else "normal"
    title = f"{options.scheme} {options.distribution}, weight {shape_text(weight)}, {activation}"
    table = [["activation", "gain", "std here"]]
    for name in _ACTIVATIONS:
        slope = options.slope if name == "leaky_relu" else None
        g = gain(activation=name, slope=slope)
        std = spread(shape=weight, scheme=options.scheme, mode=options.mode, gain=g).std
        table.append([f"{'>' if name == activation else ' '} {name}", f"{g:.5g}", f"{std:.5g}"])
    flow = f"fan_in {fan_in:,}  -->  [ {shape_text(weight)} ]  -->  fan_out {fan_out:,}"
    marks: dict[tuple[int, int], Mark] = {
        (at, c): "strong" for at, name in enumerate(_ACTIVATIONS) for c in (0, 1) if name == activation
    }
    grid = Grid(
        cells=[row[1:] for row in table[1:]], names=list(_ACTIVATIONS), heads=table[0][1:], marks=marks, title=flow
    )
    return Explanation(
        title=title, result=f"std {found.std:.6g}, {wide}",
        steps=tuple(_steps(weight, options, activation, scale, found)),
        diagram="\n".join([flow, "", *columns(table, gap=3, align="l")]), svg=grids_svg(title, [grid]),
        formulas=(_FORMULA,),
        notes=_notes(weight), snippet=_snippet(weight, options, activation, found.std, found.bound),
        see_also=("conv", "dtype"),
        values={
            "shape": weight, "fan_in": fan_in, "fan_out": fan_out, "gain": scale, "std": found.std,
            "bound": found.bound,
        },
    )  # fmt: skip


def _steps(
    weight: Shape, options: argparse.Namespace, activation: str, scale: float, found: Spread
) -> list[str]:  # fmt: skip
    (fan_in, fan_out), (std, bound) = fans(shape=weight), found
    field = "*".join(map(str, weight[2:])) or "1"
    out = [
        f"fan_in = {weight[1]} * {field} = {fan_in:,}: the inputs of one output. fan_out = {weight[0]} * {field} "
        f"= {fan_out:,}.",
        f"The gain of {activation} is {scale:.6g}"
        + ("; relu halves the second moment, so sqrt(2) restores it." if activation == "relu" else "."),
    ]
    if options.scheme == "xavier":
        out.append(f"std = {scale:.6g} * sqrt(2 / ({fan_in:,} + {fan_out:,})) = {std:.6g}.")
    else:
        fan = fan_in if options.mode == "fan_in" else fan_out
        out.append(f"std = {scale:.6g} / sqrt({fan:,}) = {std:.6g}, by {options.mode}.")
    if bound is not None:
        out.append(f"A uniform distribution of that std reaches to std * sqrt(3) = {bound:.6g}.")
    return out


def _notes(weight: Shape) -> tuple[str, ...]:
    notes = [
        "Weights must differ from each other, or all units learn the same; biases may be 0.",
        "nn.Linear and nn.Conv2d start with kaiming_uniform_(a=sqrt(5)), which is a bound of 1 / sqrt(fan_in), "
        "less than "
        "what relu wants.",
    ]
    if len(weight) > 2:
        notes.append(
            "A transposed convolution keeps its weight as (in, out / groups, *kernel): PyTorch's fans swap names."
        )
    return tuple(notes)


def _snippet(weight: Shape, options: argparse.Namespace, activation: str, std: float, bound: float | None) -> str:
    slope = 0.01 if options.slope is None else options.slope
    param = f", {slope!r}" if activation == "leaky_relu" else ""
    lines = ["import math", "import torch", "from torch import nn", ""]
    lines += [f'gain = nn.init.calculate_gain("{activation}"{param})']
    if prod(weight) > _MOST_DRAWN or not prod(weight):
        fan_in, fan_out = fans(shape=weight)
        fan = (fan_in + fan_out) / 2 if options.scheme == "xavier" else fan_in if options.mode == "fan_in" else fan_out
        return "\n".join([*lines, f"assert math.isclose(gain / math.sqrt({fan}), {std!r}, rel_tol=1e-9)"])
    lines += ["torch.manual_seed(0)", f"w = torch.empty({shape_text(weight)})"]
    if options.scheme == "xavier":
        lines.append(f"nn.init.xavier_{options.distribution}_(w, gain=gain)")
    else:
        given = f"a={slope!r}, " if activation == "leaky_relu" else ""
        lines.append(f'nn.init.kaiming_{options.distribution}_(w, {given}mode="{options.mode}",')
        lines.append(f'                         nonlinearity="{activation}")')
    if bound is not None:
        lines.append(f"assert w.abs().max() <= {bound!r}")
    if prod(weight) >= 1000:
        lines.append(f"assert math.isclose(w.std(), {std:.6g}, rel_tol=0.1)  # drawn, not computed")
    elif bound is None:
        lines.append(f"assert w.abs().max() < 6 * {std!r}")
    return "\n".join(lines)
