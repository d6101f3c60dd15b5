"""Turn what a script raised into one clear error with the user's line and the tensors on it."""

from __future__ import annotations

import ast
import contextlib
import linecache
import sys
import traceback
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import torch

from trainworthy.errors import TrainworthyError
from trainworthy.tape.operators import flat_tensors
from trainworthy.tape.recorder import Recorder
from trainworthy.virtual.device import VirtualDevice
from trainworthy.virtual.script_job import make_error

_MAX_TENSORS = 8
_PACKAGE = str(Path(__file__).resolve().parent.parent)
_NETWORK = ("offline mode", "a rehearsal has no network", "couldn't connect to")
_MESH = ("In order to get the mesh Tensor of a DeviceMesh", "Mesh should not be bigger than default world size")
_DISPATCH = ("torch/_ops.py", "torch/overrides.py", "torch/utils/_python_dispatch.py")
_PIP_NAMES = {
    "PIL": "pillow",
    "cv2": "opencv-python",
    "sklearn": "scikit-learn",
    "skimage": "scikit-image",
    "yaml": "pyyaml",
    "bs4": "beautifulsoup4",
    "pytorch_lightning": "lightning",
    "hydra": "hydra-core",
    "Bio": "biopython",
    "tensorboard": "tensorboard",
}


def describe_exception(error: BaseException, recorder: Recorder | None) -> dict[str, Any]:
    """Return ``{kind, message, path, line}`` and the tensors of the failing line."""
    frame, line = user_frame(error.__traceback__, recorder)
    path = _place(frame, recorder)
    if isinstance(error, SyntaxError):
        path, line = _relative(error.filename, recorder), error.lineno
    found = make_error(_kind(error), message_of(error), path=path, line=line, fix=_fix(error))
    found["exception"] = type(error).__name__
    if frame is not None and line is not None:
        found["code"] = linecache.getline(frame.f_code.co_filename, line).strip()
        if recorder is not None and isinstance(error, (RuntimeError, ValueError, TypeError, IndexError)):
            found["tensors"] = tensors_on_line(frame, line, recorder)
            found["refused"] = refused_operation(error.__traceback__)
    return found


def refused_operation(trace: TracebackType | None) -> dict[str, Any] | None:
    """Return the name of the innermost operation that an exception passed, and the shapes that it was given."""
    best: dict[str, Any] | None = None
    while trace is not None:
        if trace.tb_frame.f_code is VirtualDevice.__torch_dispatch__.__code__:
            local = trace.tb_frame.f_locals
            tensors = flat_tensors(local["args"], local["kwargs"] or {})
            best = {"op": local["func"].__name__, "shapes": [[int(n) for n in t.shape] for t in tensors]}
        trace = trace.tb_next
    return best


def print_traceback(error: BaseException) -> None:
    """Print to the log what Python would print, without the frames of this package."""
    with contextlib.suppress(Exception):
        shown = traceback.TracebackException.from_exception(error)
        _hide_own_frames(shown)
        for text in shown.format():
            sys.stderr.write(text)


def _hide_own_frames(shown: traceback.TracebackException) -> None:
    frames = list(shown.stack)
    ours = [_PACKAGE in frame.filename for frame in frames]
    if ours and ours[-1]:  # what the script did wrong was worded here; what it was worded from is noise
        shown.__cause__ = shown.__context__ = None
    kept = [
        frame for frame, is_ours in zip(frames, ours, strict=True)
        if not is_ours and not frame.filename.endswith(_DISPATCH)
    ]  # fmt: skip
    shown.stack = traceback.StackSummary.from_list(kept)
    for chained in (shown.__cause__, shown.__context__):
        if chained is not None:
            _hide_own_frames(chained)


def message_of(error: BaseException) -> str:
    """Word an exception in one paragraph: its class and its text."""
    if isinstance(error, TrainworthyError):
        return error.message
    text = "".join(traceback.format_exception_only(type(error), error)).strip()
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg}"
    if len(text) > 2000:
        text = f"{text[:1500]} [...] {text[-400:]}"
    return text.partition(".")[2] if text.startswith("__main__.") else text


def _kind(error: BaseException) -> str:
    # Classes are named, not imported: they live in modules that may not be loaded.
    name = type(error).__name__
    if isinstance(error, ModuleNotFoundError):
        return "missing-package"
    if name == "NetworkRefusedError" or any(t in str(error).lower() for t in _NETWORK):
        return "network"
    if isinstance(error, FileNotFoundError):
        return "missing-file"
    if isinstance(error, EOFError) and "standard input" in str(error):
        return "stdin"
    if isinstance(error, MemoryError):
        return "host-memory"
    if name == "ClusterError":
        return "cluster"
    return "exception"


def _fix(error: BaseException) -> str | None:
    given = getattr(error, "trainworthy_fix", None)
    if isinstance(given, str):
        return given
    if isinstance(error, ModuleNotFoundError) and error.name:
        top = error.name.partition(".")[0]
        install = f"pip install {_PIP_NAMES.get(top, top)}"
        if top in {"torchvision", "datasets"}:
            install += ', or let shapes stand in for its data sets: --data "float32[1,28,28], int64[]<10"'
        return install
    if any(text in str(error) for text in _MESH):
        return (
            "The degrees of a device mesh have to multiply to the world size: choose degrees that divide --world-size, "
            "or a world size that they divide."
        )
    if isinstance(error, FileNotFoundError):
        name = error.filename if isinstance(error.filename, str) else "PATH"
        return (
            "If this is data that is not on this machine, let shapes stand in for it: "
            f'--data "{name}=uint16[1000000]<50257" for a file of numbers, '
            '--data "float32[3,224,224], int64[]<1000" for the samples of a data set.'
        )
    return None


def user_frame(trace: TracebackType | None, recorder: Recorder | None) -> tuple[FrameType | None, int | None]:
    """Return the innermost frame of a traceback that is the user's, with the failing line."""
    best: tuple[FrameType | None, int | None] = (None, None)
    while trace is not None:
        if recorder is None or recorder.finder.is_user(trace.tb_frame.f_code):
            best = (trace.tb_frame, trace.tb_lineno)
        trace = trace.tb_next
    return best


def _place(frame: FrameType | None, recorder: Recorder | None) -> str | None:
    return None if frame is None else _relative(frame.f_code.co_filename, recorder)


def _relative(filename: str | None, recorder: Recorder | None) -> str | None:
    if filename is None or recorder is None:
        return filename
    return recorder.finder.relative(filename)


def tensors_on_line(frame: FrameType, line: int, recorder: Recorder) -> list[str]:
    """Describe the tensors that a line names: shape, dtype, device and where each was made."""
    found: dict[str, str] = {}
    for name, value in _named_values(frame, line):
        for label, tensor in _tensors_of(name, value):
            if label not in found and len(found) < _MAX_TENSORS:
                found[label] = _describe(label, tensor, recorder)
    return list(found.values())


def _named_values(frame: FrameType, line: int) -> list[tuple[str, Any]]:
    names: dict[str, Any] = {}
    for node in ast.walk(_statement(frame, line)):
        if isinstance(node, (ast.Name, ast.Attribute)):
            chain = _chain(node)
            if chain:
                value = _look_up(frame, chain)
                if value is not None:
                    names.setdefault(".".join(chain), value)
    return list(names.items())


def _statement(frame: FrameType, line: int) -> ast.AST:
    """Parse the smallest statement that covers ``line``."""
    source = "".join(linecache.getlines(frame.f_code.co_filename))
    best: ast.AST = ast.Module(body=[], type_ignores=[])
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return best
    size = len(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno):
            lines = (node.end_lineno or node.lineno) - node.lineno
            if lines < size:
                best, size = node, lines
    return best


def _chain(node: ast.AST) -> list[str]:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    return [node.id, *parts] if isinstance(node, ast.Name) else []


def _look_up(frame: FrameType, chain: list[str]) -> Any:
    value = frame.f_locals.get(chain[0], frame.f_globals.get(chain[0]))
    for part in chain[1:]:
        # Attributes of other objects may be properties with effects.
        if not isinstance(value, torch.nn.Module):
            return None
        value = value._modules.get(part, value._parameters.get(part, value._buffers.get(part)))
    return value


def _tensors_of(name: str, value: Any) -> list[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        return [(name, value)]
    if isinstance(value, torch.nn.Module):
        own = {k: p for k, p in value._parameters.items() if p is not None}
        return [(f"{name}.{key}", tensor) for key, tensor in own.items()]
    if isinstance(value, (list, tuple)) and len(value) <= _MAX_TENSORS:
        return [(f"{name}[{i}]", v) for i, v in enumerate(value) if isinstance(v, torch.Tensor)]
    if isinstance(value, dict) and len(value) <= _MAX_TENSORS:
        return [(f"{name}[{k!r}]", v) for k, v in value.items() if isinstance(v, torch.Tensor)]
    return []


def _describe(label: str, tensor: torch.Tensor, recorder: Recorder) -> str:
    dtype = str(tensor.dtype).removeprefix("torch.")
    shape = ", ".join(str(size) for size in tensor.shape)
    text = f"{label}: {dtype}[{shape}] on {tensor.device}"
    made = recorder.made_at(tensor)
    return f"{text}, made at {made}" if made else text
