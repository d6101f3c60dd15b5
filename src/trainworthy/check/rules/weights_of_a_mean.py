"""Samples are weighted after their losses were averaged.

What it finds:
    `(criterion(output, y) * weights).mean()`, also divided by `weights.sum()`, with a loss that averages already: by
    the names in the source, and in a rehearsal and in real steps by what is multiplied, a loss of one number with data
    that has one number for each sample.

Why:
    The loss is one number by then. Multiplied with every weight and averaged it is scaled by the mean weight, and no
    sample counts for more than another: class weights, importance weights of a replay buffer and masks do nothing.

How sure:
    Sure in a rehearsal and in real steps, where shapes are known. In the source it is a warning where the weights are
    called weights or a mask, and are surely several: summed, picked by an index, or unpacked from a batch.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.dry.rows import batch_size, place_of, rows
from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import followed, last_given, scope_of
from trainworthy.check.static.batch_means import is_batch_mean, stripped
from trainworthy.check.static.tree import nodes_of, unparsed
from trainworthy.tape.record import Op, Source, Tape

BAD = """\
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(4):
    x, y, weights = torch.randn(16, 4), torch.randint(3, (16,)), torch.rand(16)
    loss = F.cross_entropy(model(x), y)
    loss = (loss * weights).sum() / weights.sum()  # <- TW240
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = BAD.replace("(model(x), y)", '(model(x), y, reduction="none")').replace("  # <- TW240", "")
LIVE_BAD = DRY_BAD = BAD
LIVE_GOOD = DRY_GOOD = GOOD
_FIX = "Give the loss `reduction='none'`, weight the samples, and average then."
_WEIGHTS = re.compile(r"(^|_)(weights?|w|mask|importance|is_?w\w*|wts?)(_|$)", re.IGNORECASE)


@rule(code="TW240", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what is averaged or summed: a product of a mean and weights."""
    if "torch" not in analysis.source.words:
        return
    for call in analysis.nodes.get(ast.Call, []):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
            continue
        if call.func.attr not in ("mean", "sum") or call.keywords:
            continue
        scope = scope_of(call, analysis.parents)
        product = followed(call.args[0] if call.args else call.func.value, scope)
        for loss, weights in _factors(product):
            name = unparsed(weights)
            if _WEIGHTS.search(name.rpartition(".")[2].partition("[")[0]) and _are_several(weights, scope):
                made = last_given(scope, loss.id, product.lineno) if isinstance(loss, ast.Name) else None
                if is_batch_mean(analysis, scope, made or loss) and not is_batch_mean(analysis, scope, weights):
                    yield Hit(
                        place=analysis.place(product),
                        message=f"the loss is a mean already; multiplied with `{name}` it is scaled, and no sample "
                        "counts for more than another",
                        fix=_FIX,
                    )


def _factors(node: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield both ways to read a product."""
    sides: tuple[ast.expr, ...] = ()
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        sides = (node.left, node.right)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("mul", "multiply"):
        sides = (node.func.value, *node.args)
    if len(sides) == 2:
        yield sides[0], stripped(sides[1])
        yield sides[1], stripped(sides[0])


def _are_several(weights: ast.expr, scope: ast.AST) -> bool:
    """Say whether something is surely a number for each of several samples."""
    if isinstance(weights, ast.Subscript):
        return not isinstance(weights.slice, ast.Constant)
    name = unparsed(weights)
    summed = any(
        isinstance(one.func, ast.Attribute) and one.func.attr == "sum" and unparsed(one.func.value) == name
        for one in nodes_of(scope, ast.Call)
    )
    loops = [one.target for one in nodes_of(scope, ast.For)]
    taken = [
        target for one in nodes_of(scope, ast.Assign) for target in one.targets if not isinstance(one.value, ast.Tuple)
    ]
    unpacked = [one for one in (*loops, *taken) if isinstance(one, ast.Tuple)]
    return summed or any(name in map(unparsed, one.elts) for one in unpacked)


_ONE_NUMBER = frozenset(
    "mean sum mse_loss smooth_l1_loss huber_loss nll_loss_forward binary_cross_entropy "
    "binary_cross_entropy_with_logits".split()
)


@rule(code="TW240", severity="error", depth="dry")
def find_on_tape(tape: Tape) -> Iterator[Hit]:
    """Follow losses of one number into products with data that are summed or averaged at once."""
    shapes = [[t.shape for t in row.signature.inputs] for row in rows(tape) if row.signature.name == "mul.Tensor"]
    size = batch_size(tape) if any(() in one and any(one) for one in shapes) else None
    if size is None or size < 2:
        return
    numbers: dict[int, Source] = {}
    products: dict[int, tuple[Op, Source]] = {}
    for op in tape.ops:
        if op.step != tape.reference_step or op.phase not in ("forward", "loss") or not op.inputs or not op.outputs:
            continue
        name, out = op.name.partition(".")[0], op.outputs[0]
        if name in ("mean", "sum") and op.inputs[0].storage in products:
            product, mean = products.pop(op.inputs[0].storage)
            yield Hit(
                place=place_of(product.source, tape),
                message=f"a loss that is one number already is multiplied with {size} weights, one for each sample: "
                "it is scaled, and no sample counts for more than another",
                evidence=(Evidence("the loss is made one number here", place_of(mean, tape)),),
                fix=_FIX,
            )
        if name in _ONE_NUMBER and out.shape == ():
            numbers[out.storage] = op.source
        elif name == "mul" and len(op.inputs) == 2:
            made = next((numbers[t.storage] for t in op.inputs if t.shape == () and t.storage in numbers), None)
            weights = next((t for t in op.inputs if t.kind == "input" and t.shape in ((size,), (size, 1))), None)
            if made is not None and weights is not None:
                products[out.storage] = op, made


@rule(code="TW240", severity="error", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield one finding for each product."""
    for place in dict.fromkeys(fact.place for fact in facts.weighed_means):
        fact = next(one for one in facts.weighed_means if one.place == place)
        yield Hit(
            place=place,
            message=f"a loss that is one number already is multiplied with {fact.batch} weights, one for each sample: "
            "it is scaled, and no sample counts for more than another",
            evidence=(Evidence("the loss is made one number here", fact.mean),) if fact.mean != place else (),
            fix=_FIX,
        )
