"""Receptive field through a chain of layers."""

from __future__ import annotations

import argparse

from trainworthy.explain.arguments import at_least
from trainworthy.explain.drawing import MAX_WIDTH, Mark, Svg, columns
from trainworthy.explain.explanation import Explanation, Formula
from trainworthy.explain.registry import subject
from trainworthy.formulas.receptive_field import Field, Layer, chain_fields, chain_sizes, parse_chain

_FORMULA = Formula(
    text="jump_out = jump_in * s\n"
    "field_out = field_in + d(k - 1) * jump_in\n"
    "start_out = start_in + (d(k - 1) / 2 - p) * jump_in\n"
    "output i is centred on input  start + i * jump",
    source="Araujo, Norris and Sim, Computing Receptive Fields of Convolutional Neural Networks, Distill 2019 "
    "(https://distill.pub/2019/computing-receptive-fields/), equations 1 to 4",
)
_EXAMPLE = "k3s1,k3s2,k3s1"
_MOST_ROWS = 24  # layers in the table
_MOST_TAPS = 12  # layers in the picture of taps


def _arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("chain", nargs="?", default=None, metavar="LAYERS",
        help='such as "k7s2p3,k3s2p1,k3p1x4": kernel, stride, padding, dilation; x4 repeats a layer')  # fmt: skip
    add("--size", type=at_least(1), metavar="N", help="input size: shows the output sizes too")


@subject(
    "receptive-field",
    summary="which inputs one output sees through a chain of layers",
    group="layers",
    arguments=_arguments,
    examples=(
        '"k3s1,k3s2,k3s1"', '"k7s2p3,k3s2p1,k3p1x6,k3s2p1,k3p1x7" --size 224', '"k3d1,k3d2,k3d4"',
        '"k3p1x2,k2s2,k3p1x2,k2s2,k3p1x3,k2s2,k3p1x3,k2s2,k3p1x3,k2s2"', '"k3" --size 9',
    ),
    aliases=("rf", "jump"),
)  # fmt: skip
def receptive_field(options: argparse.Namespace) -> Explanation:
    """Explain the receptive field of a chain."""
    text = _EXAMPLE if options.chain is None else options.chain
    layers = parse_chain(text=text)
    fields = chain_fields(layers=layers)
    sizes = None if options.size is None else chain_sizes(size=options.size, layers=layers)
    last = fields[-1]
    title = text if len(text) <= 60 else text[:57] + "..."
    beyond = sizes is not None and options.size is not None and last.size > options.size
    return Explanation(
        title=title,
        result=f"one output sees {last.size:,} inputs; outputs lie {last.jump:,} apart; the first is centred on input "
        f"{last.start:g}",
        steps=tuple(_steps(layers, fields)), diagram="\n".join(_lines(layers, fields, sizes)),
        svg=_svg(title, layers, fields), formulas=(_FORMULA,), see_also=("conv", "pool"),
        notes=_notes(beyond=beyond), snippet=_snippet(layers, last),
        values={
            "layers": [layer._asdict() for layer in layers], "size": last.size, "jump": last.jump, "start": last.start,
            "sizes": [field.size for field in fields], "output_sizes": sizes,
        },
    )  # fmt: skip


def _notes(*, beyond: bool) -> tuple[str, ...]:
    notes = ["Inputs in the middle count more than at the rim: the effective field is smaller (Luo et al. 2016)."]
    if beyond:
        notes.append("The field is larger than the input: every output sees all of it, and padding.")
    return tuple(notes)


def _steps(layers: tuple[Layer, ...], fields: tuple[Field, ...]) -> list[str]:
    out, before = [], Field()
    for at, (layer, field) in enumerate(zip(layers, fields, strict=True), start=1):
        if at > 8 and at < len(layers):
            if at == 9:
                out.append(f"... {len(layers) - 9} more layers in the same way ...")
        else:
            name = f" ({layer.name})" if layer.name else ""
            out.append(
                f"Layer {at}{name}: field {before.size} + {layer.dilation}*({layer.kernel} - 1)*{before.jump} = "
                f"{field.size}; jump {before.jump} * {layer.stride} = {field.jump}."
            )
        before = field
    return out


def _lines(layers: tuple[Layer, ...], fields: tuple[Field, ...], sizes: tuple[int, ...] | None) -> list[str]:
    rows: list[list[object]] = [["layer", "kernel", "stride", "padding", "dilation", "field", "jump", "start"]]
    if sizes is not None:
        rows[0].append("output")
    for at, (layer, field) in enumerate(zip(layers, fields, strict=True), start=1):
        row: list[object] = [
            f"{at} {layer.name}".strip(),
            *layer[:4],
            f"{field.size:,}",
            f"{field.jump:,}",
            f"{field.start:g}",
        ]
        rows.append(row if sizes is None else [*row, f"{sizes[at - 1]:,}"])
    if len(rows) > _MOST_ROWS + 1:
        rows = [*rows[: _MOST_ROWS - 1], ["..."], rows[-1]]
    table = columns(rows, gap=2, align="l")
    return [*table, "", *_taps(layers, fields)]


def _taps(layers: tuple[Layer, ...], fields: tuple[Field, ...]) -> list[str]:
    """Draw, a line a layer, the positions that lead to the middle output; the input is at the bottom."""
    width = fields[-1].size
    if width > MAX_WIDTH - 12 or len(layers) > _MOST_TAPS:
        return [f"field of {fields[-1].size:,} inputs, too wide to draw"]
    rows, seen = [], {0}
    low = fields[-1].low
    # From the output down: each position of a layer's output reads k positions of its input.
    grids = [Field(), *fields]
    for at in range(len(layers), 0, -1):
        rows.append((f"after {at}", {grids[at].start + p * grids[at].jump for p in seen}))
        layer = layers[at - 1]
        seen = {p * layer.stride - layer.padding + tap * layer.dilation for p in seen for tap in range(layer.kernel)}
    rows.append(("input", {float(p) for p in seen}))
    return [
        f"{name:<10}"
        + "".join(
            "o" if any(abs(low + x - c) < 0.5 or c == low + x + 0.5 for c in centres) else "." for x in range(width)
        )
        for name, centres in rows
    ] + ["", "o: leads to one output of the last layer (padding counts)"]


def _svg(title: str, layers: tuple[Layer, ...], fields: tuple[Field, ...]) -> str:
    """Draw the fields of one output as bars, the last layer on top."""
    picture = Svg(title=title)
    shown = list(enumerate(fields, start=1))[-_MOST_TAPS:]
    last = fields[-1]
    scale = min(18.0, 560 / last.size)
    for row, (at, field) in enumerate(reversed(shown)):
        width = field.size * scale
        x = 110 + (last.size * scale - width) / 2
        mark: Mark = "strong" if at == len(fields) else "added"
        picture.cell(x, row * 26, width, 20, f"{field.size:,}" if width > 30 else "", mark=mark)
        picture.text(0, row * 26 + 14, f"after {layers[at - 1].name or at}")
        picture.text(120 + last.size * scale, row * 26 + 14, f"jump {field.jump:,}", faint=True)
    picture.text(
        110 + last.size * scale / 2, len(shown) * 26 + 16, "inputs seen by one output", anchor="middle", faint=True
    )
    return picture.render()


def _snippet(layers: tuple[Layer, ...], last: Field) -> str:
    """Compare with the inputs that have a gradient: long chains and dilated ones only by their ends."""
    size = last.size + 4 * last.jump
    if size > 20_000 or len(layers) > 64:
        return "\n".join([
            "from math import prod", "", f"layers = {[tuple(layer[:4]) for layer in layers[:3]]}  # and so on",
            "jump, field = 1, 1", "for k, s, p, d in layers:", "    field, jump = field + d * (k - 1) * jump, jump * s",
            f"assert field == {chain_fields(layers=layers[:3])[-1].size}",
            f"assert jump == prod(s for _, s, _, _ in layers) == {chain_fields(layers=layers[:3])[-1].jump}",
        ])  # fmt: skip
    lines = [
        "import torch",
        "",
        "x = torch.zeros(1, 1, {size}, dtype=torch.float64, requires_grad=True)",
        "y = x",
        "layers = [",
    ]
    runs: list[tuple[tuple[int, ...], int]] = []
    for layer in layers:
        # Without padding, so that the field of the first output lies inside the input.
        numbers = (layer.kernel, layer.stride, layer.dilation)
        if runs and runs[-1][0] == numbers:
            runs[-1] = (numbers, runs[-1][1] + 1)
        else:
            runs.append((numbers, 1))
    lines += [f"    *[{numbers}] * {times}," if times > 1 else f"    {numbers}," for numbers, times in runs]
    lines += [
        "]  # kernel, stride, dilation", "for k, s, d in layers:",
        "    w = torch.ones(1, 1, k, dtype=torch.float64) / k",
        "    y = torch.nn.functional.conv1d(y, w, stride=s, dilation=d)", "y[0, 0, 0].backward()",
        "seen = x.grad[0, 0].nonzero().flatten()  # what the first output sees",
        f"assert seen[-1] - seen[0] + 1 == {last.size}",
    ]  # fmt: skip
    return "\n".join(lines).replace("{size}", str(size))
