"""Cross-entropy and smooth L1."""

from __future__ import annotations

import argparse
import math
from itertools import pairwise

from trainworthy.errors import ShapeError, UsageError
from trainworthy.explain.arguments import integers, number, shape
from trainworthy.explain.drawing import Grid, Mark, Svg, columns, grids_svg
from trainworthy.explain.explanation import Explanation, Formula
from trainworthy.explain.registry import subject
from trainworthy.formulas.checks import Shape, shape_text
from trainworthy.formulas.loss import check_target, cross_entropy_shapes, log_softmax, smooth_l1, smooth_l1_sigma
from trainworthy.formulas.loss import cross_entropy as cross_entropy_of

_CROSS_ENTROPY = Formula(
    text="l_n = -w[y_n] log softmax(x_n)[y_n]           0 where y_n = ignore_index\n"
    "smoothed by e:  (1 - e) l_n - e / C * sum_c w[c] log softmax(x_n)[c]\n"
    "mean = sum of l_n / sum of w[y_n] over what is not ignored",
    source="docs of torch.nn.CrossEntropyLoss (torch 2.13); Szegedy et al. 2016 (arXiv 1512.00567), section 7",
)
_SMOOTH_L1 = Formula(
    text="PyTorch:       0.5 x^2 / beta        if |x| < beta      else |x| - 0.5 beta\n"
    "Faster R-CNN:  0.5 (sigma x)^2       if |x| < 1/sigma^2 else |x| - 0.5/sigma^2\n"
    "               x = inside * (prediction - target), result times outside\n"
    "beta = 1 / sigma^2                   Huber = beta * smooth L1",
    source="docs of torch.nn.SmoothL1Loss; Girshick 2015 (arXiv 1504.08083), equation 3; caffe-fast-rcnn, "
    "smooth_L1_loss_layer.cu",
)
_LOGITS = [[2.0, 0.5, 0.1], [0.2, 1.5, 0.3], [1.0, 1.0, 1.0]]


def _cross_entropy_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("logits", nargs="?", type=shape, metavar="LOGITS", help='shape of the logits, such as "(8,1000)"')
    add("target", nargs="?", type=shape, metavar="TARGET", help="shape of the target, to be checked")
    add("--targets", type=integers, default=(0, 1, -100), metavar="N,N,N",
        help="classes 0 to 2 of the example, or the ignored one (default: 0,1,-100)")  # fmt: skip
    add("--smoothing", type=number, default=0.0, metavar="E", help="label smoothing, 0 to 1 (default: 0)")
    add("--ignore-index", type=int, default=-100, metavar="N", help="(default: -100)")


@subject(
    "cross-entropy",
    summary="shapes, ignore_index and label smoothing, worked through",
    group="losses",
    arguments=_cross_entropy_arguments,
    examples=(
        '"(8,1000)"',
        '"(8,1024,50257)" "(8,1024)"',
        '"(8,50257,1024)" "(8,1024)"',
        "--smoothing 0.1",
        "--targets 2,-100,-100",
    ),
    aliases=("cross-entropy-loss", "ce", "nll", "ignore-index", "label-smoothing"),
)
def cross_entropy(options: argparse.Namespace) -> Explanation:
    """Explain cross-entropy: its shapes, and its value on three rows."""
    logits: Shape = (3, 3) if options.logits is None else options.logits
    shapes = cross_entropy_shapes(logits=logits)
    targets = options.targets
    if len(targets) != 3:
        raise UsageError(f"The example has three rows, got {len(targets)} targets.", where="--targets")
    rest = {"ignore_index": options.ignore_index, "label_smoothing": options.smoothing}
    losses = cross_entropy_of(logits=_LOGITS, targets=targets, reduction="none", **rest)
    mean = cross_entropy_of(logits=_LOGITS, targets=targets, **rest)
    assert isinstance(losses, tuple)
    assert isinstance(mean, float)
    wrong = None
    if options.target is not None:
        try:
            check_target(logits=logits, target=options.target)
        except ShapeError as error:
            wrong = error
    title = f"logits {shape_text(logits)}" + (
        f", target {shape_text(options.target)}" if options.target is not None else ""
    )
    result = (
        wrong.message if wrong else f"target {shape_text(shapes.target)} of int64 classes; one loss each, then the mean"
    )
    counted = sum(target != options.ignore_index for target in targets)
    rows = _rows(targets, losses, options.ignore_index)
    shown_mean = f"{mean:.4f}" if math.isfinite(mean) else "nan, 0 / 0"
    return Explanation(
        title=title, result=result, problem=wrong is not None,
        steps=tuple(_ce_steps(logits, shapes.target, counted, shown_mean, options.smoothing)),
        diagram="\n".join([
            *_shape_lines(logits, shapes.target), "", *columns(rows, align="l"), "",
            f"mean over {counted}: {shown_mean}",
        ]),
        svg=_ce_svg(title, rows), formulas=(_CROSS_ENTROPY,),
        snippet=_ce_snippet(options, losses, mean, logits if wrong else None),
        notes=_ce_notes(wrong, counted), see_also=("smooth-l1", "gather", "dtype"),
        values={
            "logits_shape": logits, "target_shape": shapes.target, "unreduced_shape": shapes.unreduced,
            "example_losses": losses, "example_mean": mean if math.isfinite(mean) else None, "counted": counted,
        },
    )  # fmt: skip


def _shape_lines(logits: Shape, target: Shape) -> list[str]:
    names = ["N", "C", *(f"d{at}" for at in range(1, len(logits) - 1))] if len(logits) > 1 else ["C"]
    cells = list(map(str, target))
    if len(logits) > 1:
        cells.insert(1, "-")
    table = [["", *names], ["logits", *map(str, logits)], ["target", *cells]]
    return [*columns(table, gap=3, align="l"), "", "the example, three rows of three classes:"]


def _rows(targets: Shape, losses: tuple[float, ...], ignore: int) -> list[list[str]]:
    rows = [["logits", "", "", "softmax", "", "", "target", "loss"]]
    for row, target, loss in zip(_LOGITS, targets, losses, strict=True):
        shares = [f"{math.exp(value):.2f}" for value in log_softmax(logits=row)]
        word = "ignored" if target == ignore else str(target)
        rows.append([*(f"{v:g}" for v in row), *shares, word, f"{loss:.4f}"])
    return rows


def _ce_svg(title: str, rows: list[list[str]]) -> str:
    marks: dict[tuple[int, int], Mark] = {}
    for at, row in enumerate(rows[1:]):
        marks[at, 7] = "faint" if row[6] == "ignored" else "good"
        if row[6] in ("0", "1", "2"):
            marks[at, 3 + int(row[6])] = "strong"
    return grids_svg(title, [Grid(cells=rows[1:], heads=rows[0], marks=marks)])


def _ce_steps(logits: Shape, target: Shape, counted: int, mean: str, smoothing: float) -> list[str]:
    out = [
        f"The classes are dimension {0 if len(logits) == 1 else 1} of the logits, {shape_text(logits)}; the "
        "target has every other "
        f"dimension: {shape_text(target)}. Probabilities as targets have the shape of the logits.",
        "log softmax takes the largest logit off first, so that exp does not overflow; give it logits, not softmax.",
    ]
    if smoothing:
        out.append(f"Smoothing {smoothing:g}: each row's loss is {1 - smoothing:g} of the usual one and "
        f"{smoothing:g} of the mean "
                   "of -log softmax over all classes.")  # fmt: skip
    out.append(f"The mean is over the {counted} rows that are not ignored: {mean}.")
    return out


def _ce_notes(wrong: ShapeError | None, counted: int) -> tuple[str, ...]:
    notes = [wrong.fix] if wrong is not None and wrong.fix else []
    if counted == 0:
        notes.append("Everything is ignored: the mean is 0 / 0, NaN, and so are all gradients.")
    notes.append(
        "With ignored tokens the mean of the means of micro-batches is not the mean of the batch: sum the losses "
        "and divide "
        "by the number of counted tokens of the whole batch."
    )
    return tuple(notes)


def _ce_snippet(options: argparse.Namespace, losses: tuple[float, ...], mean: float, wrong: Shape | None) -> str:
    """Compute the example; ``wrong`` are logits that do not go with the target asked about."""
    rest = f"ignore_index={options.ignore_index}, label_smoothing={options.smoothing!r}"
    lines = [
        "import torch", "import torch.nn.functional as F", "", f"x = torch.tensor({_LOGITS})",
        f"y = torch.tensor({list(options.targets)})", f"options = dict({rest})",
        "losses = F.cross_entropy(x, y, reduction=\"none\", **options)",
        f"expected = torch.tensor({[round(loss, 6) for loss in losses]})",
        "assert torch.allclose(losses, expected, atol=1e-5)", "mean = F.cross_entropy(x, y, **options)",
        "assert mean.isnan()" if math.isnan(mean) else f"assert abs(mean - {mean:.6f}) < 1e-5",
    ]  # fmt: skip
    if wrong is not None:
        lines += [
            "", "try:", "    F.cross_entropy(", f"        torch.empty({shape_text(wrong)}, device=\"meta\"),",
            f"        torch.empty({shape_text(options.target)}, dtype=torch.int64, device=\"meta\"),", "    )",
            "except (RuntimeError, ValueError) as error:", "    print(error)", "else:",
            '    raise AssertionError("these shapes go together after all")',
        ]  # fmt: skip
    return "\n".join(lines)


def _smooth_l1_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("difference", nargs="?", type=number, default=None, metavar="X", help="prediction minus target (default: 0.2)")
    add("--sigma", type=number, default=None, metavar="S", help="as in Faster R-CNN (default: 3)")
    add("--beta", type=number, default=None, metavar="B", help="as in PyTorch, instead of sigma")
    add(
        "--inside",
        type=number,
        default=1.0,
        metavar="W",
        help="bbox_inside_weights: 1 for positives, else 0 (default: 1)",
    )
    add("--outside", type=number, default=1.0, metavar="W", help="bbox_outside_weights: 1 / N_reg (default: 1)")


@subject(
    "smooth-l1",
    summary="PyTorch's beta, Faster R-CNN's sigma and weights",
    group="losses",
    arguments=_smooth_l1_arguments,
    examples=("0.2 --sigma 3", "2 --beta 1", "0.5 --sigma 1 --inside 0", "-1.5 --sigma 3 --outside 0.0039"),
    aliases=("smoothl1", "huber", "smooth-l1-loss"),
)
def smooth_l1_subject(options: argparse.Namespace) -> Explanation:
    """Explain smooth L1 in both parametrisations."""
    x = 0.2 if options.difference is None else options.difference
    sigma = _sigma(options)
    if max(abs(x), abs(options.inside), abs(options.outside)) > 1e12:
        raise UsageError("The difference and the weights must lie between -1e12 and 1e12.")
    beta = 1 / (sigma * sigma)
    value = smooth_l1_sigma(difference=x, sigma=sigma, inside_weight=options.inside, outside_weight=options.outside)
    weighted = options.inside * x
    part = "the parabola" if abs(weighted) < beta else "the line"
    title = f"x = {x:g}, sigma {sigma:.4g} (beta {beta:.4g})"
    return Explanation(
        title=title,
        result=f"{value:.6g}, on {part}: |{weighted:g}| {'<' if abs(weighted) < beta else '>='} {beta:.4g}",
        steps=(
            f"Inside weight: {options.inside:g} * {x:g} = {weighted:g}; 0 leaves a box out of the regression.",
            f"The bend lies at 1 / sigma^2 = beta = {beta:.6g}: below it a parabola, beyond it a line of slope 1.",
            (f"0.5 * ({sigma:.4g} * {weighted:g})^2" if abs(weighted) < beta else f"|{weighted:g}| - 0.5 * {beta:.6g}")
            + f" = {smooth_l1(difference=weighted, beta=beta):.6g}.",
            f"Outside weight: times {options.outside:g} gives {value:.6g}.",
        ),
        diagram="\n".join(_curve(beta, weighted)), svg=_curve_svg(title, beta, weighted), formulas=(_SMOOTH_L1,),
        notes=(
            "torch's default, beta = 1, is sigma = 1. Faster R-CNN's RPN uses sigma = 3, so beta = 1/9.",
            "Often copied as 0.5 (sigma^2 x)^2: then the two parts do not meet unless sigma is 1.",
            "F.huber_loss(delta=d) is d times smooth L1 with beta = d: the same at 1, other slopes elsewhere.",
        ),
        see_also=("cross-entropy",),
        snippet="\n".join([
            "import torch", "import torch.nn.functional as F", "", f"x = torch.tensor({x!r}, dtype=torch.float64)",
            f"inside, outside = {options.inside!r}, {options.outside!r}", f"beta = 1 / {sigma!r} ** 2",
            "loss = F.smooth_l1_loss(inside * x, torch.zeros_like(x), beta=beta)", f"expected = {value!r}",
            "assert abs(outside * loss - expected) <= 1e-9 + 1e-9 * abs(expected)",
        ]),
        values={"x": x, "sigma": sigma, "beta": beta, "loss": value, "bend": beta, "part": part},
    )  # fmt: skip


def _sigma(options: argparse.Namespace) -> float:
    """Return sigma, from beta if that is given."""
    if options.beta is not None and options.sigma is not None:
        raise UsageError("Give --sigma or --beta, not both: beta = 1 / sigma^2.")
    if options.beta is not None and options.beta <= 0:
        raise UsageError(f"beta must be more than 0 here, got {options.beta:g}; at 0 it is L1.", where="--beta")
    given: float = 3.0 if options.sigma is None else options.sigma
    sigma = given if options.beta is None else 1 / math.sqrt(options.beta)
    if not 1e-6 <= sigma <= 1e6:
        raise UsageError(f"sigma must lie between 1e-6 and 1e6, got {sigma:g}.", where="--sigma")
    return sigma


_HEIGHT, _WIDTH = 9, 61


def _curve(beta: float, at: float) -> list[str]:
    """Draw the curve over three bends to each side, with the value marked."""
    span = max(3 * beta, abs(at) * 1.05)
    xs = [span * (2 * column / (_WIDTH - 1) - 1) for column in range(_WIDTH)]
    ys = [smooth_l1(difference=x, beta=beta) for x in xs]
    top = max(ys)
    lines = [[" "] * _WIDTH for _ in range(_HEIGHT)]
    for column, (x, y) in enumerate(zip(xs, ys, strict=True)):
        lines[_row(y, top)][column] = "o" if abs(x) < beta else "*"
    mark = round((at / span + 1) / 2 * (_WIDTH - 1))
    lines[_row(smooth_l1(difference=at, beta=beta), top)][mark] = "X"
    left = [f"{top:.3g}", *[""] * (_HEIGHT - 2), "0"]
    body = [f"{word:>8} |{''.join(line)}".rstrip() for word, line in zip(left, lines, strict=True)]
    axis = f"{-span:.3g}".ljust(_WIDTH // 2) + "0" + f"{span:.3g}".rjust(_WIDTH - _WIDTH // 2 - 1)
    return [*body, " " * 9 + "+" + "-" * _WIDTH, " " * 10 + axis, "", "o: parabola   *: line   X: this value"]


def _row(y: float, top: float) -> int:
    return _HEIGHT - 1 - round(y / top * (_HEIGHT - 1)) if top else _HEIGHT - 1


def _curve_svg(title: str, beta: float, at: float) -> str:
    picture, width, height = Svg(title=title), 420.0, 180.0
    span = max(3 * beta, abs(at) * 1.05)
    top = smooth_l1(difference=span, beta=beta)

    def place(x: float) -> tuple[float, float]:
        return (x / span + 1) / 2 * width, height - smooth_l1(difference=x, beta=beta) / top * height

    points = [place(span * (step / 40 - 1)) for step in range(81)]
    for (x1, y1), (x2, y2) in pairwise(points):
        picture.line(x1, y1, x2, y2)
    picture.line(0, height, width, height, faint=True)
    for bend in (-beta, beta):
        x, y = place(bend)
        picture.line(x, y, x, height, faint=True)
        picture.text(x, height + 14, f"{bend:.3g}", anchor="middle", faint=True)
    x, y = place(at)
    picture.cell(x - 4, y - 4, 8, 8, mark="bad")
    return picture.render()
