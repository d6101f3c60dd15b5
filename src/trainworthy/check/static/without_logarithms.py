"""Log-likelihood losses in programs in which nothing takes the logarithm of a probability."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.everywhere import project_files, text_of
from trainworthy.check.static.external import is_loss_module, is_module
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import NLL, once_per_place
from trainworthy.check.static.tree import walk

# Words of log-probabilities, and of libraries that take the logarithm themselves or give what already is one.
_LOGARITHMS = re.compile(
    r"log_?soft|log_?sum|log_?prob|\blprob|_lprob|(?:\b|_)log_?ps?(?:\b|_)|log_?sigmoid|log_?lik|logaddexp|"
    r"normali[sz]ed_prob|energ|crf|ctc|rnnt|skorch|speechbrain|espnet|fairseq|torchaudio|"
    r"\btorch\.log(?:1p|2|10|_)?\(|\.log_?\(\)|(?<![\w.])(?<!def )log\(",
    re.IGNORECASE,
)
_NETWORK = re.compile(
    r"^class \w+\([^)]*Module\b|\bnn\.(?:Linear|Conv\dd|Sequential)\(|\btorchvision\.models\b|\bimport timm\b|"
    r"\bfrom torchvision import models\b",
    re.MULTILINE,
)
_IS_RUN = re.compile(r"^\s*if __name__ ==", re.MULTILINE)


def without_logarithms(analysis: Analysis) -> Iterator[Call]:
    """Yield the log-likelihood losses of a file, if nothing that leads to them can have made log-probabilities."""
    calls = once_per_place(analysis.calls("torch.nn.NLLLoss", NLL[1]))
    losses = [one for one in calls if one.context.source is analysis.source and not _is_chosen(analysis, one)]
    if losses and not _LOGARITHMS.search(analysis.source.code) and _have_none(analysis):
        yield from losses


def _is_chosen(analysis: Analysis, loss: Call) -> bool:
    """Say whether a loss is one of several that somebody chooses from by name."""
    if any(isinstance(getattr(part, "value", None), str) for test, _ in loss.context.branches for part in walk(test)):
        return True
    node: ast.AST = loss.node
    while node in analysis.parents and not isinstance(node, ast.stmt):
        node = analysis.parents[node]
        if isinstance(node, ast.Dict | ast.Lambda):
            return True
    return False


def _have_none(analysis: Analysis) -> bool:
    """Say whether neither the file nor what may make its networks has logarithms, and there are networks at all.

    A file that is run makes them itself, or imports who does; what gets them handed over may get any of the project.
    """
    imported = [one.code for one in analysis.sources]
    if any(map(_LOGARITHMS.search, imported)):
        return False
    if _is_a_script(analysis) and any(map(_NETWORK.search, imported)):
        return True
    others = [text_of(one) for one in project_files(analysis.source.path) or ()]  # none: who hands over is not known
    return any(map(_NETWORK.search, others)) and not any(map(_LOGARITHMS.search, others))


def _is_a_script(analysis: Analysis) -> bool:
    """Say whether a file is run: it says so, or its top level trains, or makes a network."""
    if _IS_RUN.search(analysis.source.code):
        return True
    if any(one.context.function is None for one in analysis.method_calls("backward")):
        return True
    made = [one.value for one in analysis.stores if one.context.function is None]
    return any(is_module(one) and not is_loss_module(one) for one in made)
