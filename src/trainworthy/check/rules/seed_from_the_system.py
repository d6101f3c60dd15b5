"""A seed is taken from the system in a program that is seeded.

What it finds:
    `seed = torch.Generator().seed()` or `seed = torch.seed()` where the project seeds its generators elsewhere.

Why:
    `seed()` without a number asks the system: whatever seed the run was given, this part of it is another in every
    run, and in a resumed one.

How sure:
    The number becomes the seed of something, and the project calls `manual_seed`, `seed_everything` or the like with a
    seed that can be set. A hint: someone may want it so.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called
from trainworthy.check.static.everywhere import project_files, text_of
from trainworthy.check.static.tree import unparsed

BAD = """\
import torch

torch.manual_seed(0)


def crop(image):
    seed = torch.Generator().seed()  # <- TW619
    g = torch.Generator().manual_seed(seed)
    return image[torch.randint(0, 8, (1,), generator=g) :]
"""

GOOD = """\
import torch

torch.manual_seed(0)


def crop(image):
    seed = int(torch.randint(0, 2**31, ()))
    g = torch.Generator().manual_seed(seed)
    return image[torch.randint(0, 8, (1,), generator=g) :]
"""

_SEEDED = re.compile(r"\b(?:manual_seed|seed_everything|set_seed|set_random_seed|seed_all)\(\s*[\w.\[\]\"'() +]*\w")
_SYSTEM = re.compile(r"^(?:(?:torch|th|pt)\.)?(?:Generator\(.*\)|torch|th|pt)\.seed$|^secrets\.rand(?:bits|below)$")


@rule(code="TW619", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what seeds are made of."""
    if not analysis.source.words & {"Generator", "secrets", "torch"} or "seed" not in analysis.source.code:
        return
    for node in analysis.nodes.get(ast.Assign, ()):
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name | ast.Attribute):
            continue
        if not isinstance(node.value, ast.Call) or called(node.value) not in ("seed", "randbits", "randbelow"):
            continue
        source = unparsed(node.value.func)
        if "seed" in unparsed(node.targets[0]).lower() and _SYSTEM.search(source) and _project_is_seeded(analysis):
            yield Hit(
                place=analysis.place(node),
                message=f"`{source}()` asks the system: runs with the same seed differ",
                fix="Draw it from a generator that the program has seeded.",
            )


def _project_is_seeded(analysis: Analysis) -> bool:
    """Say whether the file or another one of the project seeds generators."""
    texts = [analysis.source.code, *(text_of(path) for path in project_files(analysis.source.path) or ())]
    return any(_SEEDED.search(text) for text in texts)
