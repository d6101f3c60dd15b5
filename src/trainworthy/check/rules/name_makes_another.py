"""A configuration's name makes another class than the one of that name.

What it finds:
    `if name == "Rprop": optimizer = optim.RMSprop(...)`, or `{"elu": nn.Tanh}`: the text is the name of one optimizer,
    activation or loss of torch, and another one is made.

Why:
    Whoever asks for the one gets the other, and results are reported under the wrong name.

How sure:
    Both names are torch's, and the class that is made is the only one of its kind in the branch. Names that are part
    of one another pass: `adam` often makes AdamW on purpose.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import is_a_test
from trainworthy.check.static.tree import unparsed, walk

BAD = """\
from torch import optim


def make(name, parameters, rate):
    if name == "Adam":
        return optim.Adam(parameters, lr=rate)
    elif name == "Rprop":
        return optim.RMSprop(parameters, lr=rate)  # <- TW868
"""
GOOD = BAD.replace("optim.RMSprop(parameters, lr=rate)  # <- TW868", "optim.Rprop(parameters, lr=rate)")

_OPTIMIZERS = "Adadelta Adafactor Adagrad Adam AdamW Adamax ASGD LBFGS Muon NAdam RAdam RMSprop Rprop SGD SparseAdam"
_ACTIVATIONS = (
    "CELU ELU GELU Hardshrink Hardsigmoid Hardswish Hardtanh LeakyReLU Mish PReLU ReLU ReLU6 RReLU SELU SiLU "
    "Sigmoid Softmax Softplus Softsign Tanh"
)
_LOSSES = (
    "BCELoss BCEWithLogitsLoss CrossEntropyLoss CTCLoss GaussianNLLLoss HuberLoss KLDivLoss L1Loss MSELoss NLLLoss "
    "SmoothL1Loss TripletMarginLoss"
)
_SCHEDULERS = (
    "ConstantLR CosineAnnealingLR CosineAnnealingWarmRestarts CyclicLR ExponentialLR LinearLR MultiStepLR OneCycleLR "
    "PolynomialLR ReduceLROnPlateau StepLR"
)
_KINDS = [frozenset(names.split()) for names in (_OPTIMIZERS, _ACTIVATIONS, _LOSSES, _SCHEDULERS)]
_SHORT = [
    {short: name for name in sorted(kind) for short in (name.lower(), name.lower().removesuffix("loss"))}
    for kind in _KINDS
]


@rule(code="TW868", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at branches on a text, and at tables."""
    if "torch" not in analysis.source.words or is_a_test(analysis.source):
        return
    for node in analysis.nodes.get(ast.If, ()):
        text = _asked(node.test) if isinstance(node, ast.If) else ""
        if text and isinstance(node, ast.If):
            yield from _crossed(analysis, text, node.body)
    for node in analysis.nodes.get(ast.Dict, ()):
        for key, value in zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ():
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield from _crossed(analysis, key.value, [value])


def _asked(test: ast.expr) -> str:
    """Return the text that a test compares with; "" if it is another test."""
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
        right = test.comparators[0]
        return right.value if isinstance(right, ast.Constant) and isinstance(right.value, str) else ""
    return ""


def _crossed(analysis: Analysis, text: str, body: list[ast.stmt] | list[ast.expr]) -> Iterator[Hit]:
    wanted = text.lower().replace("_", "").replace("-", "")
    for kind, short in zip(_KINDS, _SHORT, strict=True):
        meant = short.get(wanted)
        if meant is None:
            continue
        made = [one for part in body for one in walk(part) if _class_of(one) in kind]
        names = {_class_of(one) for one in made}
        if len(names) == 1 and meant not in names:
            name = names.pop()
            is_loglikelihood = wanted == "nll" and name == "CrossEntropyLoss"  # that of the softmax of logits
            if not is_loglikelihood and wanted not in name.lower() and name.lower() not in meant.lower():
                yield Hit(
                    place=analysis.place(made[0]),
                    message=f"{text!r} makes {name}, and there is {meant}",
                    fix=f"Write {meant}, or call it by its name.",
                )


def _class_of(node: ast.AST) -> str:
    """Return the name of a class of ``optim``, ``nn`` or the like that a node speaks of."""
    if isinstance(node, ast.Attribute) and unparsed(node.value) in _MODULES:
        return node.attr
    return node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) else ""


_MODULES = frozenset({
    "optim", "torch.optim", "nn", "torch.nn", "lr_scheduler", "optim.lr_scheduler", "torch.optim.lr_scheduler", "F",
})  # fmt: skip
