"""Dropout is at work although the model is in evaluation mode.

What it finds:
    F.dropout(x, p) without training=..., or scaled_dot_product_attention with dropout_p above 0, inside a model that is
    in evaluation mode; a dropout layer that is no part of the model, as one in a plain list, and so never hears of
    `eval()`; in the source also `torch.dropout(x, p, True)`, whose third argument has to be given, and a dropout
    module, function or autograd function of the project's own that draws whatever the mode.

Why:
    The functions do not know the mode: F.dropout's default is training=True.

How sure:
    Sure that it dropped. Silent if training is given (Tacotron-like pre-nets do so on purpose) and for nn.Dropout
    modules
    that were put into training mode by hand.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.dry.rows import place_of, rows, source_lines
from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.dropouts import always_on
from trainworthy.tape.record import Tape

LIVE_BAD = BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 8)
        self.b = nn.Linear(8, 3)

    def forward(self, x):
        x = nn.functional.dropout(self.a(x).relu(), 0.5)  # <- TW357
        return self.b(x)


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.eval()
    with torch.no_grad():
        model(x)
    model.train()
"""
LIVE_GOOD = GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 8)
        self.b = nn.Linear(8, 3)

    def forward(self, x):
        x = nn.functional.dropout(self.a(x).relu(), 0.5, training=self.training)
        return nn.functional.dropout(self.b(x), 0.1, training=True)


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    model.eval()
    with torch.no_grad():
        model(x)
    model.train()
"""


@rule(code="TW357", severity="warning", depth="live")
def find(facts: LiveFacts) -> Iterator[Hit]:
    """Yield each line with such a dropout."""
    for place in dict.fromkeys(d.place for d in facts.dropouts):
        first = next(d for d in facts.dropouts if d.place == place)
        times = sum(d.place == place for d in facts.dropouts)
        if times >= 2:
            yield Hit(
                place=place,
                message=f"{first.op} drops with p = {first.p:g} in {first.module} while the model is in "
                "evaluation mode",
                evidence=(Evidence(f"{times} calls" + (", by a layer that is no part of the model" * first.is_stray)),),
                fix="Keep it in an attribute or an nn.ModuleList, so that eval() reaches it."
                if first.is_stray
                else "F.dropout(x, p, training=self.training); dropout_p=self.p if self.training else 0.0.",
            )


@rule(code="TW357", severity="warning", depth="dry")
def find_on_tape(tape: Tape) -> Iterator[Hit]:
    """Yield lines whose dropout draws while the model is in evaluation mode; "other" is the phase of evaluation."""
    own = {info.template for info in tape.model if "Dropout" in info.class_name}
    for step in [segment.step for segment in tape.segments]:
        for row in rows(tape, step):
            if row.signature.name != "native_dropout" or row.phase != "other" or not row.module or row.module in own:
                continue
            lines = source_lines(row.source)
            if lines and not any("train" in line for line in lines):
                yield Hit(
                    place=place_of(row.source, tape),
                    message=f"dropout is at work in {row.module} while the model is in evaluation mode",
                    evidence=(Evidence(f"{row.times} calls in step {step}"),),
                    fix="F.dropout(x, p, training=self.training).",
                )


@rule(code="TW357", severity="warning")
def find_in_source(analysis: Analysis) -> Iterator[Hit]:
    """Yield functional dropouts of modules that do not follow the mode."""
    for call, argument in always_on(analysis):
        yield Hit(
            place=analysis.place(call.node, call.context),
            message=f"dropout stays on in evaluation: {argument}",
            fix="F.dropout(x, p, training=self.training); dropout_p=self.p if self.training else 0.0.",
        )
