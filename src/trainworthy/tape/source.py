"""Which line of the user's code caused an operation."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from trainworthy.tape.record import Source

Line = tuple[CodeType, "int | None"]

_SKIP, _LIBRARY, _USER, _LOSS = 0, 1, 2, 3
_PACKAGE = str(Path(__file__).resolve().parent.parent)
_OWN_RECIPES, _OWN_PARTS = f"{_PACKAGE}{os.sep}recipes{os.sep}", f"{_PACKAGE}{os.sep}parts{os.sep}"
_STDLIB = tuple({str(Path(p).resolve()) for k, p in sysconfig.get_paths().items() if k in {"stdlib", "platstdlib"}})
_SITE = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
# Functions of torch.nn.functional whose operations are the loss, wherever they are called.
_LOSS_FUNCTIONS = frozenset(
    "cross_entropy nll_loss binary_cross_entropy binary_cross_entropy_with_logits mse_loss l1_loss "
    "smooth_l1_loss huber_loss kl_div ctc_loss poisson_nll_loss gaussian_nll_loss cosine_embedding_loss "
    "hinge_embedding_loss margin_ranking_loss multilabel_margin_loss multilabel_soft_margin_loss "
    "multi_margin_loss soft_margin_loss triplet_margin_loss triplet_margin_with_distance_loss".split()
)


def maker(frame: FrameType | None, thing: Any, methods: tuple[str, ...] = ("__init__",)) -> FrameType | None:
    """Return the frame that called a method of ``thing``, outside of its methods of that name that call each other."""
    while frame is not None and frame.f_code.co_name in methods and _first_argument(frame) is thing:
        frame = frame.f_back
    return frame


def _first_argument(frame: FrameType) -> Any:
    names = frame.f_code.co_varnames
    return frame.f_locals.get(names[0]) if frame.f_code.co_argcount and names else None


class SourceFinder:
    """Finds the user's innermost line on the stack and interns it.

    A frame is the user's if its file lies outside torch, trainworthy, the standard library and
    installed packages, or below one of ``roots`` (the folder of the script, of a ``-m`` module), or
    is an included recipe.
    """

    def __init__(self, roots: tuple[str, ...] = (), base: str | None = None) -> None:
        self.roots = tuple(str(Path(root).resolve()) + os.sep for root in roots)
        self.base = Path(base or Path.cwd()).resolve()
        self.sources: list[Source] = [Source("", 0)]
        self._ids: dict[tuple[Line, Line | None], int] = {}
        self._kinds: dict[CodeType, int] = {}

    def find(self, frame: FrameType | None) -> tuple[int, bool]:
        """Return the number of the source that ``frame`` belongs to, and whether it is a loss."""
        kinds, library, loss = self._kinds, None, False
        while frame is not None:
            code = frame.f_code
            kind = kinds.get(code)
            if kind is None:
                kind = kinds[code] = self._classify(code)
            if kind == _USER:
                return self.number((code, frame.f_lineno), library), loss
            if kind == _LIBRARY:
                if library is None:
                    library = (code, frame.f_lineno)
            elif kind == _LOSS:
                loss = True
            frame = frame.f_back
        return (self.number(library, None) if library is not None else 0), loss

    def search(
        self, frame: FrameType | None, stop: CodeType | None
    ) -> tuple[Line | None, Line | None, FrameType | None]:
        """Walk up to the user's innermost line, or to the first frame of ``stop`` if that comes before.

        Returns the user's line, the innermost line of a library on the way, and the frame of ``stop``, each or None.
        """
        kinds, library = self._kinds, None
        while frame is not None:
            code = frame.f_code
            if code is stop:
                return None, library, frame
            kind = kinds.get(code)
            if kind is None:
                kind = kinds[code] = self._classify(code)
            if kind == _USER:
                return (code, frame.f_lineno), library, None
            if kind == _LIBRARY and library is None:
                library = (code, frame.f_lineno)
            frame = frame.f_back
        return None, library, None

    def find_above(self, frame: FrameType | None, stop: CodeType) -> int:
        """Return the number of the user's innermost line that was called from ``stop``; 0 if there is none."""
        user, library, _ = self.search(frame, stop)
        return self.number(user, library) if user is not None else 0

    def is_user(self, code: CodeType) -> bool:
        """Tell whether ``code`` is the user's."""
        return self._classify(code) == _USER

    def relative(self, filename: str) -> str:
        """Return a file as reports show it: relative to where the rehearsal was started."""
        return self._relative(filename)

    def number(self, user: Line, library: Line | None) -> int:
        """Return the number of the source of a line, reached through a line of a library if one is given."""
        key = (user, library)
        number = self._ids.get(key)
        if number is None:
            code, line = user
            via = f"{_short(library[0].co_filename)}:{library[1]}" if library is not None else None
            number = len(self.sources)
            self.sources.append(Source(self._relative(code.co_filename), line or 0, code.co_name, via))
            self._ids[key] = number
        return number

    def _relative(self, filename: str) -> str:
        if filename.startswith("<"):
            return filename
        path = Path(filename)
        try:
            return str(path.resolve().relative_to(self.base))
        except (ValueError, OSError):
            return _short(filename) if any(s in filename for s in _SITE) else str(path)

    def _classify(self, code: CodeType) -> int:
        filename = code.co_filename
        if any(part in filename for part in (f"{os.sep}torch{os.sep}", f"{_PACKAGE}{os.sep}")):
            is_torch = f"{os.sep}torch{os.sep}" in filename and any(s in filename for s in _SITE)
            if is_torch and filename.endswith("functional.py") and code.co_name in _LOSS_FUNCTIONS:
                return _LOSS
            if is_torch or filename.startswith(_PACKAGE):
                return _kind_of_own(filename)
        if filename.startswith("<frozen"):
            return _SKIP
        if filename.startswith("<"):  # notebook cells, exec'd configuration
            return _USER if filename.startswith(("<ipython", "<cell", "<stdin")) else _SKIP
        resolved = str(Path(filename).resolve())
        if any(s in resolved for s in _SITE):
            return _USER if self._below_root(resolved) else _LIBRARY
        if resolved.startswith(_STDLIB):
            return _SKIP
        return _USER

    def _below_root(self, resolved: str) -> bool:
        # A root above site-packages (a project with its .venv inside) does not make them the user's.
        return any(
            resolved.startswith(root) and not any(s in resolved[len(root) - 1 :] for s in _SITE) for root in self.roots
        )


def _kind_of_own(filename: str) -> int:
    """Tell what our own files are: an included recipe is read as a user's file, its parts as a library."""
    if filename.startswith(_OWN_RECIPES):
        return _USER
    return _LIBRARY if filename.startswith(_OWN_PARTS) else _SKIP


def _short(filename: str) -> str:
    for site in _SITE:
        if site in filename:
            return filename.rsplit(site, 1)[1]
    return filename
