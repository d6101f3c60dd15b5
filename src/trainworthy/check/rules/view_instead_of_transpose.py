"""A view or reshape swaps two dimensions by name only: the numbers stay where they are.

What it finds:
    In the forward pass, a view of (..., T, H*D) as (..., H, T, D), of (..., H, T, D) as (..., T, H*D), of
    (N, T, H*D) as (N*H, T, D) or the other way round, of (A, B, ...) as (B, A, ...), of (..., A, B) as
    (..., B, A) with the axes before put together, in real steps of a batch of data (N, A, B) as (N, B, A), or of
    (..., C, ..., W) as (rows, C), where C is not last and rows of C end within W.
    From the source alone: the last hidden states of a recurrent layer of several directions or layers, (directions,
    batch, width), viewed as rows of samples; `x.movedim(0, -1).view(-1, C)` where C is the size of another dimension
    than the one that was moved last; and (B, N, C) as (B, C, H, W) or the like, where the source names the sizes.

Why:
    A view reads the same numbers in the same order with other sizes. Sizes come out as after a transpose, positions,
    heads or samples are mixed. It trains, badly.

How sure:
    Sure of the shapes. The sizes that seem to change places have to be different from each other and from all that
    they could be mistaken for, and larger than 1. Only lines of the script's own count, not those of libraries. Noise,
    whose order means nothing, may be shaped like this; so may a mixture that is meant. From the source alone: the layer
    says `bidirectional=True` or a number of layers above 1 where it is made, the dimensions are numbers, or all sizes
    have names of their own. Silent in functions that are called for a shift, a shuffle or folding.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from trainworthy.check.dry.rows import place_of, rows
from trainworthy.check.finding import Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.axes import Axes
from trainworthy.check.static.mixing_views import of_exchanged_axes, of_hidden_states, of_moved_dimensions
from trainworthy.tape.record import Tape

SEEN_BY = "rehearsal"
BAD = """\
import torch
from torch import nn


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 16, batch_first=True, bidirectional=True)
        self.out = nn.Linear(32, 3)

    def forward(self, x):
        _, (h, _) = self.lstm(x)
        return self.out(h.view(x.size(0), -1))  # <- TW122
"""
GOOD = """\
import torch
from torch import nn


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 16, batch_first=True, bidirectional=True)
        self.out = nn.Linear(32, 3)

    def forward(self, x):
        _, (h, _) = self.lstm(x)
        return self.out(h.transpose(0, 1).reshape(x.size(0), -1))
"""
DRY_BAD = """\
import torch
from torch import nn


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(24, 72)
        self.out = nn.Linear(24, 24)

    def forward(self, x):
        batch, time, width = x.shape
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q = q.reshape(batch, 4, time, 6)  # <- TW122
        k = k.reshape(batch, 4, time, 6)  # <- TW122
        v = v.reshape(batch, 4, time, 6)  # <- TW122
        seen = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.out(seen.reshape(batch, time, width))  # <- TW122


def make():
    model = Attention().cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step():
        loss = model(torch.rand(3, 7, 24, device="cuda")).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step
"""
DRY_GOOD = """\
import torch
from torch import nn


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(24, 72)
        self.out = nn.Linear(24, 24)

    def forward(self, x):
        batch, time, width = x.shape
        q, k, v = (t.reshape(batch, time, 4, 6).transpose(1, 2) for t in self.qkv(x).chunk(3, dim=-1))
        seen = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.out(seen.transpose(1, 2).reshape(batch, time, width))


def make():
    model = nn.Sequential(Attention(), nn.MultiheadAttention(24, 4)).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step():
        x = model[0](torch.rand(3, 7, 24, device="cuda"))
        loss = model[1](x, x, x)[0].view(3 * 7, 24).view(7, 3, 24).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step
"""


@rule(code="TW122", severity="warning")
def find_in_source(analysis: Analysis) -> Iterator[Hit]:
    """Look at views of hidden states, and at those of dimensions that were moved by number."""
    for node in of_hidden_states(analysis):
        yield Hit(
            place=analysis.place(node),
            message="hidden states come as (directions or layers, batch, width): this view mixes samples",
            fix="Write `.transpose(0, 1)` before it, with `.reshape`; or `torch.cat([h[-2], h[-1]], dim=-1)`.",
        )
    for node, name, of in of_moved_dimensions(analysis):
        yield Hit(
            place=analysis.place(node),
            message=f"`{name}` is the size of dimension {of}, and another was moved last: this view mixes them",
            fix=f"Move dimension {of} last.",
        )

    for node, before, after in of_exchanged_axes(analysis):
        yield Hit(
            place=analysis.place(node),
            message=f"{_named(before)} is viewed as {_named(after)}: the sizes change places, the numbers do not",
            fix="Move the dimension with `.transpose(...)` or `.permute(...)` before it.",
        )


def _named(sizes: Axes) -> str:
    return f"({', '.join('?' if one is None else one for one in sizes)})"


_VIEWS = ("view", "_unsafe_view")


@rule(code="TW122", severity="warning", depth="dry")
def find(tape: Tape) -> Iterator[Hit]:
    """Yield the lines of the reference step with such a view."""
    for row in rows(tape):
        signature = row.signature
        own = row.source.path and row.source.library is None
        if signature.name.partition(".")[0] not in _VIEWS or row.phase not in ("forward", "loss") or not own:
            continue
        before, after = signature.inputs[0].shape, signature.outputs[0].shape
        right = swapped(before, after)
        if right is not None:
            yield Hit(
                place=place_of(row.source, tape),
                message=f"{_shape(before)} is viewed as {_shape(after)}: the sizes change places, the numbers do not",
                fix=right,
            )


@rule(code="TW122", severity="warning", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield such views of the model's first batch."""
    for view in facts.views:
        right = swapped(view.before, view.after) or (swapped_data(view.before, view.after) if view.is_data else None)
        if right is not None:
            yield Hit(
                place=view.place,
                message=f"{_shape(view.before)} is viewed as {_shape(view.after)}: the sizes change places, the "
                "numbers do not",
                fix=right,
            )


def swapped(before: tuple[int, ...], after: tuple[int, ...]) -> str | None:
    """Return what to write instead if a view pretends to move a dimension; None if it does not."""
    if len(after) == len(before) + 1 and len(before) >= 2 and before[:-2] == after[:-3]:
        (time, width), (heads, moved, size) = before[-2:], after[-3:]
        if moved == time and heads * size == width and _told_apart(time, heads, size, width):
            return f".view(..., {time}, {heads}, {size}).transpose(-3, -2)"
    if len(before) == len(after) + 1 and len(after) >= 2 and before[:-3] == after[:-2]:
        (heads, time, size), (moved, width) = before[-3:], after[-2:]
        if moved == time and heads * size == width and _told_apart(time, heads, size, width):
            return f".transpose(-3, -2).reshape(..., {time}, {width})"
    if len(before) == len(after) == 3 and before[1] == after[1]:
        few, many = (before, after) if before[0] < after[0] else (after, before)
        (rows, time, width), (groups, _, size) = few, many
        if (
            rows > 1
            and groups % rows == 0
            and _told_apart(time, groups // rows, size)
            and size * groups // rows == width
        ):
            heads = groups // rows
            if few is before:
                return f".view({rows}, {time}, {heads}, {size}).transpose(1, 2).reshape({groups}, {time}, {size})"
            return f".view({rows}, {heads}, {time}, {size}).transpose(1, 2).reshape({rows}, {time}, {width})"
    if len(before) > 3 and len(after) > 2 and before[-2:] == after[:-3:-1] and prod(before[:-2]) == prod(after[:-2]):
        return f".transpose(-2, -1).reshape{_shape(after)}" if _told_apart(*after[-2:]) else None
    pair, rest = before[:2], before[2:]
    if len(before) == len(after) >= 3 and pair == after[1::-1] and rest == after[2:]:
        return ".transpose(0, 1)" if _told_apart(*pair) and not set(pair) & set(rest) else None
    if len(after) == 2 < len(before) and after[0] > 1:
        width, last = after[1], before[-1]
        if before[:-1].count(width) == 1 and last > 1 and width > 1 and last % width and width % last:
            return f".movedim({before.index(width)}, -1).reshape(-1, {width})"
    return None


def swapped_data(before: tuple[int, ...], after: tuple[int, ...]) -> str | None:
    """Return what to write instead if a batch (N, A, B) of data is viewed as (N, B, A); of features it may be meant."""
    exchanged = len(before) == len(after) == 3 and before == (after[0], after[2], after[1])
    return ".transpose(1, 2)" if exchanged and _told_apart(*before[1:]) and before[0] > 1 else None


def _told_apart(*sizes: int) -> bool:
    return len(set(sizes)) == len(sizes) and min(sizes) > 1


def _shape(shape: tuple[int, ...]) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"
