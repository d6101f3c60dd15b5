"""Under autocast, weights are multiplied in full precision.

What it finds:
    A region of autocast in which most of the multiplications with weights (by size, over the first four steps) were
    done in float32. On a rehearsal: lines of the forward pass whose matrix products or convolutions take float32 and
    are at least a tenth of its FLOPs, while at least a third of them run in half precision.

Why:
    Something between the region and the layers turns autocast off, or goes around it: a compiled or traced function
    that applies it to the operators it knows, a kernel of one's own. Time and memory are those of float32.

How sure:
    Sure of the element types. On a rehearsal it is a hint. Single layers that are done in float32 on purpose, such as
    routers and heads, are the smaller part and are not reported.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.dry.rows import place_of, rows
from trainworthy.check.finding import Evidence, Hit, Place
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.tape.record import Tape

BAD = """\
import torch
from torch import nn

first, second = nn.Linear(64, 64), nn.Linear(64, 64)
optimizer = torch.optim.SGD([*first.parameters(), *second.parameters()], lr=0.1)
for step in range(3):
    with torch.autocast("cpu", torch.bfloat16):
        h = first(torch.rand(32, 64))
        with torch.autocast("cpu", enabled=False):
            h = second(h.float())  # <- TW730
        loss = h.pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = """\
import torch
from torch import nn

first, second = nn.Linear(64, 64), nn.Linear(64, 64)
optimizer = torch.optim.SGD([*first.parameters(), *second.parameters()], lr=0.1)
for step in range(3):
    with torch.autocast("cpu", torch.bfloat16):
        loss = second(first(torch.rand(32, 64))).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
def fast_linear(x, weight):
    with torch.autocast("cpu", enabled=False):
        return nn.functional.linear(x, weight)  # <- TW730


weight = nn.Linear(8, 8).weight
optimizer = torch.optim.SGD([weight], lr=0.1)
for step in range(3):
    with torch.autocast("cpu", torch.bfloat16):
        loss = fast_linear(torch.randn(4, 8), weight).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
model, router = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 8)), nn.Linear(8, 2, bias=False)
optimizer = torch.optim.SGD([*model.parameters(), *router.parameters()], lr=0.1)
for step in range(3):
    x = torch.randn(4, 8)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.autocast("cpu", enabled=False):
            gate = nn.functional.linear(x.float(), router.weight).softmax(-1)
        loss = (model(x) * gate[:, :1]).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW730", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield regions without effect."""
    for fact in facts.under_autocast:
        if fact.full > fact.low:
            share = fact.full / (fact.full + fact.low)
            yield Hit(
                place=fact.place,
                message=f"Under autocast({fact.dtype}), {share:.0%} of the work with weights was done in float32, such "
                f"as {fact.example} here",
                evidence=(Evidence("the region of autocast begins here", fact.region),),
                fix="Let nothing turn autocast off in between; cast inputs and weights where a kernel goes around it.",
            )


_LOW = ("bfloat16", "float16")


@rule(code="TW730", severity="warning", depth="dry")
def find_on_tape(tape: Tape) -> Iterator[Hit]:
    """Sum the FLOPs of the forward pass by type and line."""
    low = total = 0
    full: dict[Place, tuple[int, str]] = {}
    for row in rows(tape):
        flops = (row.signature.flops or 0) * row.times
        if row.phase not in ("forward", "loss") or not flops:
            continue
        total += flops
        dtypes = {tensor.dtype for tensor in row.signature.inputs}
        if dtypes & {*_LOW}:
            low += flops
        elif dtypes == {"float32"} and row.source.path:
            place = place_of(row.source, tape)
            full[place] = (full.get(place, (0, ""))[0] + flops, row.module)
    for place, (flops, module) in full.items():
        if flops >= 0.1 * total and low >= total / 3:
            yield Hit(
                place=place,
                severity="hint",
                message=f"{flops / total:.0%} of the forward FLOPs are float32 here"
                f"{f' ({module})' if module else ''}, and {low / total:.0%} run in half precision",
                fix="Open autocast around it; in a custom function use torch.amp.custom_fwd.",
            )
