"""A class of torch, or a function of the project, is called with an argument that it does not have.

What it finds:
    Misspelt keywords: `DataLoader(..., sampleer=s)`, `nn.Flatten(dim=1)`, `parser.add_argument(choice=...)`. Also where
    a function of the project has `**kwargs`, and asks them for certain names only: `make_loader(sampleer=s)`.

Why:
    TypeError, perhaps after an hour in the queue. `**kwargs` swallow the argument, and the default stays.

How sure:
    The signatures are those of torch 2.11 to 2.13, and the argument is in none of them, nor was in earlier versions.
    Of a function with `**kwargs`, only names are told that differ by a letter or two from one that it knows and is not
    given; whoever hands its `**kwargs` on may be given anything.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.signatures import keywords_of
from trainworthy.check.static.swallowed import is_slip, known_keywords

BAD = """\
import torch
from torch.utils.data import DataLoader

data = torch.rand(10)
loader = DataLoader(data, batchsize=2)  # <- TW806
flat = torch.nn.Flatten(dim=1)  # <- TW806
"""

GOOD = """\
import torch
from torch.utils.data import DataLoader

data = torch.rand(10)
loader = DataLoader(data, batch_size=2)
flat = torch.nn.Flatten(start_dim=1)
"""


@rule(code="TW806", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at keywords."""
    for call in once_per_place(iter(analysis.all_calls)):
        if not call.keywords or not call.name.startswith(("torch.", "argparse.")):
            continue
        if call.name.endswith(".DistributedDataParallel") and "apex" in analysis.source.words:
            continue  # that of apex has other arguments
        known = keywords_of(call.name)
        wrong = [name for name in call.keywords if name not in known] if known is not None else []
        for name in wrong:
            keyword = next(one for one in call.node.keywords if one.arg == name)
            near = difflib.get_close_matches(name, known or (), n=1)
            yield Hit(
                place=analysis.place(keyword, call.context),
                message=f"`{call.name.removesuffix('.__call__')}` has no argument `{name}`",
                fix=f"Write `{near[0]}`." if near else None,
            )
    yield from _swallowed(analysis)


def _swallowed(analysis: Analysis) -> Iterator[Hit]:
    """Look at keywords of functions of the project, whose ``**kwargs`` take whatever there is."""
    for call in once_per_place(iter(analysis.all_calls)):
        if call.function is None or not call.keywords or call.starred:
            continue
        known = known_keywords(call.function)
        for keyword in call.node.keywords if known is not None else ():
            if known is None or keyword.arg is None or keyword.arg in known:
                continue
            near = [one for one in known - call.keywords.keys() if is_slip(keyword.arg, one)]
            if len(near) == 1:
                yield Hit(
                    place=analysis.place(keyword, call.context),
                    message=f"`**kwargs` swallow `{keyword.arg}`: the function asks for `{near[0]}`",
                    fix=f"Write `{near[0]}`.",
                )
