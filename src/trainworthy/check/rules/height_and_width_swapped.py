"""Height and width of an image stand in each other's place.

What it finds:
    `h, w = image.shape[:2]` and then `cv2.resize(other, (h, w))`, which takes the width first; `h, w = picture.size`
    of a PIL image, which gives the width first, and then `F.interpolate(x, size=(h, w))`; also after
    `w, h = mask.shape[-2:]`.

Why:
    Square images hide it. All others are stretched, or cut at the wrong side.

How sure:
    Both numbers come from one shape or size in the same function, and the function that gets them is one of NumPy,
    torch, OpenCV or PIL whose order is known. Silent in functions that turn or transpose, and about a `size` that is a
    setting of an object.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Def, bindings_of, functions_of
from trainworthy.check.static.tree import nodes_of, own, unparsed

BAD = """\
import cv2
import torch.nn.functional as F


def enlarged(image, factor):
    h, w = image.shape[:2]
    new_h, new_w = int(h * factor), int(w * factor)
    return cv2.resize(image, (new_h, new_w))  # <- TW157


def as_large_as(x, mask):
    w, h = mask.shape[-2:]
    return F.interpolate(x, size=(h, w))  # <- TW157
"""

GOOD = """\
import cv2
import torch.nn.functional as F


def enlarged(image, factor):
    h, w = image.shape[:2]
    new_h, new_w = int(h * factor), int(w * factor)
    return cv2.resize(image, (new_w, new_h))


def as_large_as(x, mask):
    h, w = mask.shape[-2:]
    return F.interpolate(x, size=(h, w))
"""

_HEIGHT = re.compile(
    r"(^|_)(h|height|rows)(\d*$|_|$)|^(im|img|new|out|old|orig|src|dst|pad|mask|org)h$|^(H|height\w*)\d*$",
    re.IGNORECASE,
)
_WIDTH = re.compile(
    r"(^|_)(w|width|cols)(\d*$|_|$)|^(im|img|new|out|old|orig|src|dst|pad|mask|org)w$|^(W|width\w*)\d*$", re.IGNORECASE
)
_TURNS = re.compile(r"rotat|rot90|transpos|flip|swapaxes|permute|\.T\b|portrait|landscape|orientation", re.IGNORECASE)
_SETTINGS = re.compile(r"^(self|cls|.*\b_?(cfg|config|conf|args|opts?|options|settings|hparams|params))$")
_WIDTH_FIRST = {"cv2.resize": 1, "cv2.warpAffine": 2, "cv2.warpPerspective": 2}
_HEIGHT_FIRST = frozenset(
    {"F.interpolate", "nn.functional.interpolate", "torch.nn.functional.interpolate", "F.upsample"}
)


@rule(code="TW157", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the functions that take an image's size apart."""
    words = analysis.source.words
    if not words & {"cv2", "PIL", "interpolate", "upsample"} or not words & {"shape", "size"}:
        return
    for function in functions_of(analysis.nodes):
        sides = _sides(function)
        if not sides or _TURNS.search(analysis.source.segment(function)):
            continue
        for call in (one for one in own(function) if isinstance(one, ast.Call)):
            size, width_first = _size(call)
            pair = [getattr(one, "id", "") for one in size.elts] if isinstance(size, ast.Tuple) else []
            if len(pair) != 2 or pair[0] not in sides or pair[1] not in sides:
                continue
            (first, where), (second, _) = sides[pair[0]], sides[pair[1]]
            right = ("width", "height") if width_first else ("height", "width")
            if (first, second) == (right[1], right[0]):
                yield Hit(
                    place=analysis.place(call),
                    message=f"`{unparsed(call.func)}` takes the {right[0]} first: `{pair[0]}` is a {first}",
                    evidence=(Evidence("they are taken from here", analysis.place(where)),),
                    fix=f"({pair[1]}, {pair[0]})",
                )


def _size(call: ast.Call) -> tuple[ast.expr | None, bool]:
    """Return the size that a call gets, and whether its width comes first."""
    name = unparsed(call.func) if isinstance(call.func, ast.Attribute | ast.Name) else ""
    given = {one.arg: one.value for one in call.keywords}
    if name in _WIDTH_FIRST:
        at = _WIDTH_FIRST[name]
        return given.get("dsize", call.args[at] if len(call.args) > at else None), True
    if name in _HEIGHT_FIRST:
        return given.get("size", call.args[1] if len(call.args) > 1 else None), False
    return None, False


def _sides(function: Def) -> dict[str, tuple[str, ast.AST]]:
    """Return which names hold a height and which a width, and where they are from."""
    found: dict[str, tuple[str, ast.AST]] = {}
    stores = bindings_of(function).stores
    assignments = [one for one in own(function) if isinstance(one, ast.Assign) and len(one.targets) == 1]
    for one in sorted(assignments, key=lambda node: node.lineno):
        target = one.targets[0]
        names = [getattr(part, "id", "") for part in target.elts] if isinstance(target, ast.Tuple) else []
        order = _order(one.value, names)
        if order is not None:
            for name, side in order:
                if len(stores.get(name, ())) == 1:
                    found[name] = (side, one)
            continue
        values = one.value.elts if isinstance(one.value, ast.Tuple) else []
        pairs = (
            zip(names, values, strict=True) if len(names) == len(values) else [(getattr(target, "id", ""), one.value)]
        )
        for name, value in pairs:
            sides = {found[part.id][0] for part in nodes_of(value, ast.Name) if part.id in found}
            if name and len(sides) == 1 and len(stores.get(name, ())) == 1:
                found[name] = (sides.pop(), one)
    return found


def _order(value: ast.expr, names: list[str]) -> list[tuple[str, str]] | None:
    """Return which of some names gets the height, if a value is a shape or a PIL image's size."""
    kinds = ["h" if _HEIGHT.search(one) else "w" if _WIDTH.search(one) else "" for one in names]
    if sorted(kinds) not in (["h", "w"], ["", "h", "w"], ["", "", "h", "w"]):
        return None
    at = [number for number, kind in enumerate(kinds) if kind]
    if at[1] != at[0] + 1:
        return None
    pair = [names[at[0]], names[at[1]]]
    if isinstance(value, ast.Attribute) and value.attr == "size" and len(names) == 2:
        if _SETTINGS.match(unparsed(value.value)):
            return None
        return [(pair[0], "width"), (pair[1], "height")]
    text = unparsed(value)
    is_shape = re.search(r"\.shape(\[(:2|-2:|2:|:-1|1:)\])?$|\.size\(\)(\[(-2:|2:)\])?$", text)
    return [(pair[0], "height"), (pair[1], "width")] if is_shape else None
