"""A line works only because two sizes are equal by chance.

What it finds:
    Two dimensions meet that have nothing to do with each other: the batch and the time, the batch and the features, the
    time and the number of heads. They have one size in this run, so nothing fails.

Why:
    Per-sample weights are used as class weights, a mask of samples hides positions, tokens of other samples are added.
    It trains, badly, until somebody changes the batch size or the last batch of an epoch is smaller.

How sure:
    Sure: the script is rehearsed again. With one of the sizes changed this line fails; with both changed to one other
    size the script runs. Where the other size is fixed in the model, an operand of the failing line must hold the
    changed size and the fixed one in different dimensions. A batch size or a context length that is written in the
    model is not reported: it fails in both runs, or shows no such operand. Sizes that are meant to be equal (a square
    matrix of the batch that the loader makes) change together, and are not reported either.

When it is seen:
    `check --rehearse` and `trainworthy.probe`, where a size of the batch occurs elsewhere too. Batches of a DataLoader
    are made smaller, as a last batch is; without one, tensors that move to the GPU in every step are cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trainworthy.check.dry.notes import noted, place_in
from trainworthy.check.finding import Evidence, Hit, Place
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.tape.record import Tape

SEEN_BY = "rehearsal"
BAD = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

tokens = torch.randint(0, 50, (64, 17))
lengths = torch.randint(2, 16, (64,))
loader = DataLoader(TensorDataset(tokens, lengths), batch_size=16)
model = nn.Sequential(nn.Embedding(50, 24), nn.Linear(24, 50)).cuda()
optimizer = torch.optim.AdamW(model.parameters())
for ids, length in loader:
    ids, length = ids.cuda(), length.cuda()
    logits = model(ids[:, :-1])
    loss = nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    kept = torch.arange(logits.size(1), device="cuda") < length  # <- TW120
    loss = (loss * kept).sum() / kept.sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
GOOD = BAD.replace("< length  # <- TW120", "< length.unsqueeze(1)")


@rule(code="TW120", severity="error", depth="dry")
def find(tape: Tape) -> Iterator[Hit]:
    """Yield what the other rehearsals showed."""
    for note in noted(tape, "equal_sizes"):
        yield _hit(note, place_in(note, tape))


@rule(code="TW120", severity="error", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield what the other runs of a probed step showed."""
    for note in facts.equal_sizes:
        yield _hit(note, Place(note["path"], note["line"]) if note.get("path") else facts.home)


def _hit(note: dict[str, Any], place: Place) -> Hit:
    one, two = note["names"]
    refused, size, changed = note["refused"], note["size"], note["changed"]
    evidence = [Evidence(f"with {changed}: {note['message']}")]
    if refused is not None and len(refused["shapes"]) >= 2:
        evidence.append(Evidence(_picture(refused["shapes"])))
    return Hit(
        place=place,
        message=f"This works only because {one} and {two} are both {size}; with {changed} for {one} it fails",
        evidence=tuple(evidence), fix="Say which dimension is meant: unsqueeze or view one side, or transpose it.",
    )  # fmt: skip


def _picture(shapes: list[list[int]]) -> str:
    """Draw the two operands right-aligned, as broadcasting reads them."""
    a, b = shapes[:2]
    rank = max(len(a), len(b))
    width = max(len(str(n)) for n in (*a, *b, 1)) + 2
    rows = []
    for name, shape in (("left", a), ("right", b)):
        cells = ["·"] * (rank - len(shape)) + [str(n) for n in shape]
        rows.append(f"{name:<6}" + "".join(cell.rjust(width) for cell in cells))
    return "\n".join(rows)
