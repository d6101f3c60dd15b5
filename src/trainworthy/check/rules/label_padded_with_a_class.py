"""A label map is padded with 0, a class, where the loss ignores another number.

What it finds:
    `ImageOps.expand(mask, fill=0)`, `cv2.copyMakeBorder(label, ..., value=0)` or `F.pad(label, ...)` beside the same of
    an image, in a project whose losses or metrics have `ignore_index=255`.

Why:
    The black border is learned as class 0, and counted as such: what should be ignored says that nothing but
    background, or road, is there.

How sure:
    What is padded is called a mask, label, target or segmentation, with a number 0 that is written down or the
    default; somewhere in the project 255 (or 250) is the index to ignore.

When it is wrong:
    Class 0 is meant to be what surrounds an image.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, keyword, scope_of
from trainworthy.check.static.everywhere import project_files, text_of
from trainworthy.check.static.tree import unparsed

BAD = """\
import torch
from PIL import ImageOps

criterion = torch.nn.CrossEntropyLoss(ignore_index=255)


def pad(image, mask, border):
    image = ImageOps.expand(image, border=border, fill=0)
    mask = ImageOps.expand(mask, border=border, fill=0)  # <- TW529
    return image, mask
"""

GOOD = """\
import torch
from PIL import ImageOps

criterion = torch.nn.CrossEntropyLoss(ignore_index=255)


def pad(image, mask, border):
    image = ImageOps.expand(image, border=border, fill=0)
    mask = ImageOps.expand(mask, border=border, fill=255)
    return image, mask
"""

_LABELS = re.compile(
    r"^(?:mask|label|lbl|target|seg|gt|anno|semantic)(?:s|_?map|mentation|_?img|_?image|_mask)?$", re.I
)
_IGNORED = re.compile(r"ignore_?(?:index|label|idx|value)\w*[\"']?\s*[:=]\s*(255|250)\b", re.IGNORECASE)
_PADS = {"expand": "fill", "copyMakeBorder": "value", "pad": "value"}


@rule(code="TW529", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what pads label maps."""
    if not analysis.source.words & {"ImageOps", "copyMakeBorder", "pad"}:
        return
    calls = [one for one in analysis.nodes.get(ast.Call, ()) if isinstance(one, ast.Call) and called(one) in _PADS]
    labels = [one for one in calls if _is_a_label(one) and _pads_with_zero(one)]
    labels = [one for one in labels if _has_an_image(one, calls, analysis)]
    ignored = _ignored(analysis) if labels else 0
    for node in labels if ignored else ():
        yield Hit(
            place=analysis.place(node),
            message=f"the labels are padded with 0, a class; {ignored} is what the loss ignores",
            fix=f"Pad with {ignored}.",
        )


def _has_an_image(node: ast.Call, calls: list[ast.Call], analysis: Analysis) -> bool:
    """Say whether the same function pads something else in the same way."""
    scope = scope_of(node, analysis.parents)
    return any(
        called(one) == called(node) and not _is_a_label(one) and scope_of(one, analysis.parents) is scope
        for one in calls
    )


def _is_a_label(node: ast.Call) -> bool:
    """Say whether a label map is padded by a function for images."""
    func = unparsed(node.func)
    if func not in ("ImageOps.expand", "cv2.copyMakeBorder", "F.pad", "TF.pad", "np.pad", "torch.nn.functional.pad"):
        return False
    given = node.args[0] if node.args else None
    name = given.id if isinstance(given, ast.Name) else given.attr if isinstance(given, ast.Attribute) else ""
    if isinstance(given, ast.Subscript) and isinstance(given.slice, ast.Constant):
        name = str(given.slice.value)
    of_images = func in ("ImageOps.expand", "cv2.copyMakeBorder")
    return bool(_LABELS.match(name)) and (of_images or not name.lower().startswith(("mask", "target")))


def _pads_with_zero(node: ast.Call) -> bool:
    """Say whether the number to pad with is 0, written down or by default."""
    name = called(node)
    at = {"expand": 2, "copyMakeBorder": 6, "pad": 3}[name]
    value = keyword(node, "fill", "value", "constant_values") or (node.args[at] if len(node.args) > at else None)
    if value is None:
        mode = keyword(node, "mode", "padding_mode") or (node.args[2] if name == "pad" and len(node.args) > 2 else None)
        border = node.args[5] if name == "copyMakeBorder" and len(node.args) > 5 else keyword(node, "borderType")
        constant = border is None or "CONSTANT" in unparsed(border)
        return constant and (mode is None or "constant" in unparsed(mode) or unparsed(mode) == "0")
    zeros = [one.value for one in ast.walk(value) if isinstance(one, ast.Constant)]
    return bool(zeros) and all(isinstance(one, int | float) and one == 0 for one in zeros)


def _ignored(analysis: Analysis) -> int:
    """Return the number that the project ignores; 0 if there is none."""
    for text in (analysis.source.code, *(text_of(path) for path in project_files(analysis.source.path) or ())):
        found = _IGNORED.search(text)
        if found:
            return int(found.group(1))
    return 0
