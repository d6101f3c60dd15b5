"""Models that are evaluated in training mode: nothing on the way to their call turns evaluation mode on."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_loss_module, is_module, is_pretrained
from trainworthy.check.static.facts import Call
from trainworthy.check.static.frameworks import uses_outside
from trainworthy.check.static.modes import NO_GRAD
from trainworthy.check.static.queries import body_of, in_a_module, inner_modules
from trainworthy.check.static.source import Source, kept_with_source
from trainworthy.check.static.tree import walk
from trainworthy.check.static.values import Instance

_EVALUATION_MODE = re.compile(
    r"(?<!criterion)(?<!loss)(?<!loss_fn)\.eval\s*\(|(?<!criterion)(?<!loss)(?<!loss_fn)\.eval\b(?!_)|\.train\(\s*(?!True\s*\)|mode\s*=\s*True\s*\)|\))|\.training\s*=[^=]"
)
_MODE_WORDS = ("eval", "train", "training")
_STATEFUL = re.compile(r"(Dropout|BatchNorm|SyncBatchNorm|InstanceNorm)\w*$")
_STATEFUL_WORDS = (
    "Dropout",
    "dropout",
    "BatchNorm",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "drop_rate",
    "torchvision",
)
_LAYER = re.compile(r"Dropout|BatchNorm|dropout")
_HELD_OUT = re.compile(
    r"(^|[^a-z])(valid|val|validation|test|dev|eval)_?(data)?_?(loader|iter|dl|set|dataset|batches)", re.IGNORECASE
)
_MODELS = frozenset("model net network unet gpt encoder decoder classifier generator score_model policy_net".split())
# What puts models into the right mode by itself, or where models come in evaluation mode.
_OTHERS_DO = (
    "lightning", "pytorch_lightning", "Trainer", "ignite", "fastai", "skorch", "keras", "catalyst",
    "composer", "detectron2", "mmcv", "mmengine", "unittest", "pytest",
)  # fmt: skip
_EVALUATES = re.compile(
    r"(^|_)(eval|evaluate|validate|validation|val|predict|inference|infer|accuracy)($|_)|^test$|^test_(epoch|model|loop|net)"
)
_ACTS = re.compile(r"(^|_)(act|action|actions|rollout|explore|policy|q_targets?)($|_)")


def evaluated_in_training_mode(analysis: Analysis) -> Iterator[tuple[Call, str]]:
    """Yield calls that evaluate a model in a program that never turns evaluation mode on, with what shows it."""
    if not analysis.finished or analysis.mentions("from_pretrained") or uses_outside(analysis, *_OTHERS_DO):
        return
    modes = _Modes(analysis)
    trains = "backward" in analysis.source.words and "torch" in analysis.source.words
    has_layers = analysis.mentions(*_STATEFUL_WORDS)
    loads = "load_state_dict" in analysis.source.words and "backward" not in analysis.source.words
    loaded = _loaded_objects(analysis)
    done: set[object] = set()
    for call in analysis.all_calls:  # a function is evaluated in one of the ways that lead there
        body = body_of(call.context)
        layers = _layers_with_modes(call)
        if body in done or not (layers or _called_like_a_model(call)) or modes.may_evaluate(call) or in_a_module(call):
            continue
        if not layers and _acts(call):
            continue
        whole = (loaded(call) and _siblings_have_layers(analysis)) or (loads and _is_script_without_gradients(analysis))
        if not layers and not (trains and (has_layers or _users_have_layers(analysis))) and not whole:
            continue
        if not layers and _learns_from_it(analysis, call):
            continue
        if _evaluates(call) or (whole and not layers):
            done.add(body)
            yield call, layers


def _learns_from_it(analysis: Analysis, call: Call) -> bool:
    """Say whether the same turn calls the same model with gradients, too: targets of a loss are no evaluation."""
    text = ast.unparse(call.node.func)
    return any(
        one.context.function is call.context.function
        and one.context.loops[-1:] == call.context.loops[-1:]
        and ast.unparse(one.node.func) == text
        and not one.context.under(*NO_GRAD)
        for one in analysis.all_calls
        if one.node is not call.node and call.context.under(*NO_GRAD)
    )


def _acts(call: Call) -> bool:
    """Say whether a call chooses or judges an action, where a policy that learns is in its training mode."""
    functions = [call.context.function, *(one.context.function for one in call.context.callers)]
    return any(one is not None and _ACTS.search(one.name) for one in functions)


class _Modes:
    """Where evaluation mode is turned on, in what this program reaches."""

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self.calls = [
            call
            for call in (*analysis.method_calls("eval"), *analysis.method_calls("train"))
            if call.method == "eval" or call.constant(0, "mode") not in (..., True) or call.node.args
        ]
        self._nowhere = not self.calls and not _EVALUATION_MODE.search(analysis.source.code)

    @cached_property
    def reach(self) -> _Reach:
        """Which functions turn it on."""
        return _Reach(self._analysis)

    def may_evaluate(self, call: Call) -> bool:
        """Say whether any may be about what is called: the same object, one that holds it, an unknown one."""
        if any("eval" in ast.unparse(one.node).lower() for one in call.context.withs if isinstance(one.node, ast.expr)):
            return True
        if self._nowhere:
            return False
        if not isinstance(call.owner, Instance) or not is_module(call.owner):
            return not _has_backward(body_of(call.context)) or self.reach.leads_to(call)
        name = last_name(call.node.func)
        for one in self.calls:
            if isinstance(one.owner, Instance) and is_module(one.owner):
                kind = (call.owner.type, call.owner.cls)
                if any((inner.type, inner.cls) == kind for inner in inner_modules(one.owner)):
                    return True
            elif last_name(getattr(one.node.func, "value", one.node.func)) in (name, "self") or name == "self":
                return True
        return False


class _Mentions(NamedTuple):
    """What a function calls, by name, and whether it turns evaluation mode on itself."""

    name: str
    called: frozenset[str]
    turns_on: bool


@kept_with_source
def _functions_of(source: Source) -> tuple[_Mentions, ...]:
    return tuple(
        _Mentions(node.name, frozenset(_called(node)), _turns_evaluation_on(node))
        for node in walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def _turns_evaluation_on(node: ast.AST) -> bool:
    """Say whether a tree's text does; most have no such word, and need not be written out."""
    worded = any(
        one.attr in _MODE_WORDS
        if isinstance(one, ast.Attribute)
        else isinstance(one, ast.Import | ast.ImportFrom)
        or (isinstance(one, ast.Constant) and isinstance(one.value, str) and any(w in one.value for w in _MODE_WORDS))
        for one in walk(node)
    )
    return worded and _EVALUATION_MODE.search(ast.unparse(node)) is not None


class _Reach:
    """Which functions turn evaluation mode on, themselves or through what they call, and who calls whom, by name."""

    def __init__(self, analysis: Analysis) -> None:
        functions = [one for source in analysis.sources for one in _functions_of(source)]
        self.names = {one.name for one in functions if one.turns_on}
        while True:
            more = {one.name for one in functions if one.called & self.names} - self.names
            if not more:
                break
            self.names |= more
        top = ast.Module([one for one in analysis.source.tree.body if not isinstance(one, _DEFINITIONS)], [])
        self.top = _turns_evaluation_on(top) or bool(_called(top) & self.names)
        self.callers: dict[str, set[str]] = {}
        for one in functions:
            for name in one.called:
                self.callers.setdefault(name, set()).add(one.name)
        self.top_calls = _called(top)

    def leads_to(self, call: Call) -> bool:
        """Say whether evaluation mode may be on at a call: its function, or one on a way to it, may turn it on."""
        function = call.context.function
        if function is None:
            return self.top
        if function.owner is not None and any(name in self.names for name in function.owner.members):
            return True
        seen: set[str] = set()
        left = {function.name}
        while left:
            name = left.pop()
            seen.add(name)
            if name in self.names or (self.top and name in self.top_calls):
                return True
            left |= self.callers.get(name, set()) - seen
        return function.name not in self.callers and function.name not in self.top_calls


_DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _called(node: ast.AST) -> set[str]:
    return {last_name(one.func) for one in walk(node) if isinstance(one, ast.Call)}


def _siblings_have_layers(analysis: Analysis) -> bool:
    """Say whether a file of the same folder, where a pickled module's class may stand, has layers with modes."""
    folder = Path(analysis.source.path).parent
    for path in sorted(folder.glob("*.py"))[:40]:
        try:
            if _LAYER.search(path.read_text(encoding="utf-8", errors="replace")):
                return True
        except OSError:
            continue
    return False


def _users_have_layers(analysis: Analysis) -> bool:
    """Say whether a program or notebook of the same folder that imports this file has layers with modes."""
    path = Path(analysis.source.path)
    uses = re.compile(rf"\b(import|from)\s+\.?{re.escape(path.stem)}\b")
    others = [one for kind in ("*.py", "*.ipynb") for one in sorted(path.parent.glob(kind)) if one != path]
    for other in others[:40]:
        try:
            text = other.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if uses.search(text) and _LAYER.search(text):
            return True
    return False


def _is_script_without_gradients(analysis: Analysis) -> bool:
    words = analysis.source.words
    return "__main__" in analysis.source.code and ("no_grad" in words or "inference_mode" in words)


def _layers_with_modes(call: Call) -> str:
    """Name the layers of a called module that behave differently in training mode; "" if there are none, or unknown."""
    owner = call.owner
    if not isinstance(owner, Instance) or not call.name.endswith("__call__") or is_loss_module(owner):
        return ""
    if is_pretrained(owner):
        return f"a {owner.type.rpartition('.')[2]}"
    if not is_module(owner):
        return ""
    kinds = {match[1] for one in inner_modules(owner) if (match := _STATEFUL.search(one.type))}
    return " and ".join(sorted(kinds - {"InstanceNorm"}))


def _called_like_a_model(call: Call) -> bool:
    if call.name and not call.name.startswith("?."):
        return False
    return last_name(call.node.func).strip("_").lower() in _MODELS and bool(call.node.args)


def _evaluates(call: Call) -> bool:
    """Say whether a call evaluates: without gradients in a loop that does not train, or in a function named so."""
    function = call.context.function
    loops = [loop for loop in call.context.all_loops() if isinstance(loop, ast.For | ast.While)]
    if any(_has_backward(loop) for loop in loops[-1:]):
        return False
    if call.context.under(*NO_GRAD):
        return bool(loops)
    if any(isinstance(loop, ast.For) and _HELD_OUT.search(ast.unparse(loop.iter)) for loop in loops[-1:]):
        return True
    named = function is not None and _EVALUATES.search(function.name) is not None and bool(function.node.args.args)
    return named and not _has_backward(body_of(call.context)) and "bn" not in function.name  # type: ignore[union-attr]


def _has_backward(node: ast.AST) -> bool:
    return any(getattr(one, "attr", "") == "backward" for one in walk(node))


class _loaded_objects:  # noqa: N801 - used like a function
    """Whether a call is of something that `torch.load` returned whole.

    A program that loads a model into a name uses it; one that keeps it in an object is a part of others, which saved
    the model in the mode that they want.
    """

    def __init__(self, analysis: Analysis) -> None:
        loads = {call.node for call in analysis.calls("torch.load")}
        self.names = {
            ast.unparse(target)
            for node in analysis.nodes.get(ast.Assign, ())
            if isinstance(node, ast.Assign) and node.value in loads
            for target in node.targets
            if isinstance(target, ast.Name)
        }

    def __call__(self, call: Call) -> bool:
        return ast.unparse(call.node.func) in self.names
