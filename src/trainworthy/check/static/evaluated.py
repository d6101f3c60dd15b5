"""Models that are evaluated in training mode: nothing on the way to their call turns evaluation mode on."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.everywhere import project_files, text_of
from trainworthy.check.static.external import WRAPPERS, is_loss_module, is_module, is_pretrained
from trainworthy.check.static.facts import Call
from trainworthy.check.static.frameworks import uses_outside
from trainworthy.check.static.mode_on_the_way import PutIntoTraining
from trainworthy.check.static.modes import NO_GRAD
from trainworthy.check.static.queries import body_of, in_a_module, inner_modules
from trainworthy.check.static.repeats import with_repeats
from trainworthy.check.static.source import Source, kept_with_source
from trainworthy.check.static.tree import own, walk
from trainworthy.check.static.values import Function, Instance

_STATEFUL = re.compile(r"(Dropout|BatchNorm|SyncBatchNorm|InstanceNorm|DropPath)\w*$")
_STATEFUL_WORDS = (
    "Dropout",
    "dropout",
    "BatchNorm",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "drop_rate",
    "drop_path",
    "DropPath",
)
_LAYER = re.compile(r"Dropout|BatchNorm|dropout|DropPath|drop_path")
_MODE_NAME = re.compile(r"eval_?mode|set_?eval|to_?eval|eval_on|evaluating|test_?mode|set_?mode|set_?train|train_?mode")
_NO_NETWORK = re.compile(r"(^|_)(criterions?|loss|losses|loss_fn|loss_func|metrics?|trainer|agent|evaluator)$")
_OPTIONS = re.compile(r"(^|_)(args|opts?|options|cfg|config|params|flags|hparams|parser|self)$", re.IGNORECASE)
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
    if not analysis.ran or uses_outside(analysis, *_OTHERS_DO):
        return
    from_files = analysis.mentions("from_pretrained")
    trained = set(_put_into_training_mode(analysis)) if from_files else set()
    if from_files and not trained:
        return
    modes = _Modes(analysis)
    loads = "load_state_dict" in analysis.source.words and "backward" not in analysis.source.words
    loaded = _loaded_objects(analysis)
    done: set[object] = set()
    for call in with_repeats(analysis, _may_be_a_model):  # a function is evaluated in one of the ways that lead there
        body = body_of(call.context)
        layers = _layers_with_modes(call)
        if body in done:
            continue
        trains = _is_an_evaluation(call) and modes.keeps_training(call)
        if modes.may_evaluate(call) and not trains:
            continue
        if from_files and last_name(call.node.func) not in trained:
            continue
        if (in_a_module(call) and not _is_own_evaluation(call)) or (not layers and _acts(call)):
            continue
        whole = not _has_backward(body) and (
            (loaded(call) and _siblings_have_layers(analysis)) or (loads and _is_script_without_gradients(analysis))
        )
        if not (_evaluates(call) or (whole and not layers)) or (not layers and _learns_from_it(analysis, call)):
            continue
        if layers or whole or _may_have_layers(analysis, call, trains=trains):
            done.add(body)
            yield call, layers


def _may_be_a_model(call: Call) -> bool:
    return bool(_layers_with_modes(call)) or _called_like_a_model(call)


def _may_have_layers(analysis: Analysis, call: Call, *, trains: bool = False) -> bool:
    """Say whether a program trains, and the network's classes have such layers; its project, if they are not known."""
    if not (trains or _has_backward(analysis.source.tree)) or "torch" not in analysis.source.words:
        return False
    if call.name.endswith(".__call__") and isinstance(call.owner, Instance) and call.owner.cls is not None:
        classes = {cls for one in inner_modules(call.owner) if one.cls is not None for cls in one.cls.order()}
        return any(_LAYER.search(cls.source.segment(cls.node)) for cls in classes)
    if analysis.mentions(*_STATEFUL_WORDS) or (analysis.mentions("torchvision") and analysis.mentions("models")):
        return True
    return any(_LAYER.search(text) for text in _texts_that_belong_to(analysis.source))


def _texts_that_belong_to(source: Source) -> Iterator[str]:
    """Yield what a program imports or what imports it, from its folder, one around or in it; all for a part of one."""
    here = Path(source.path).resolve()
    imported = {
        part
        for one in walk(source.tree)
        if isinstance(one, ast.Import | ast.ImportFrom)
        for name in (getattr(one, "module", "") or "", *(alias.name for alias in one.names))
        for part in name.split(".")
    }
    imports = re.compile(rf"^\s*(from|import)\b.*\b{re.escape(here.stem)}\b", re.MULTILINE)
    for path in project_files(source.path) or ():
        other = Path(path).resolve()
        near = here.parent.is_relative_to(other.parent) or other.parent.is_relative_to(here.parent)
        if "__main__" not in source.code or (
            near and (other.stem in imported or other.parent.name in imported or imports.search(text_of(path)))
        ):
            yield text_of(path)


def _is_own_evaluation(call: Call) -> bool:
    """Say whether a network calls itself, in a class that has the loop which trains it, too."""
    function = call.context.function
    owner = function.owner if function is not None else None
    itself = ast.unparse(call.node.func) in ("self", "self.forward")
    return itself and owner is not None and function is not None and function.name != "forward" and _trains(owner.node)


def _trains(cls: ast.ClassDef) -> bool:
    return _has_backward(cls) and any(
        isinstance(one, ast.Call) and ast.unparse(one.func) in ("self.train", "super().train") for one in walk(cls)
    )


def _put_into_training_mode(analysis: Analysis) -> Iterator[str]:
    """Yield the names of what a program puts into training mode: networks from files come in evaluation mode."""
    for call in analysis.method_calls("train"):
        if not call.node.args and not call.node.keywords and isinstance(call.node.func, ast.Attribute):
            name = last_name(call.node.func.value)
            if call.function is None and not _NO_NETWORK.search(name.lower()):
                yield name


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
            if isinstance(call.node.func, ast.Attribute) and turns_evaluation_on(call.node)
        ]
        self._nowhere = not self.calls and not _turn_evaluation_on(walk(analysis.source.tree))

    @cached_property
    def reach(self) -> _Reach:
        """Which functions turn it on."""
        return _Reach(self._analysis)

    @cached_property
    def _put_into_training(self) -> PutIntoTraining:
        names = self.reach.names
        more = [one for one in self._analysis.all_calls if last_name(one.node.func) in names or _sets_a_mode(one)]
        return PutIntoTraining(self._analysis, [*self.calls, *more])

    def keeps_training(self, call: Call) -> bool:
        """Say whether the way to a call puts the model into training mode, and nothing after that into the other."""
        if any("eval" in ast.unparse(one.node).lower() for one in call.context.withs if isinstance(one.node, ast.expr)):
            return False
        return self._put_into_training.before(call) is not None

    def may_evaluate(self, call: Call) -> bool:
        """Say whether any may be about what is called: the same object, one that holds it, an unknown one."""
        if any("eval" in ast.unparse(one.node).lower() for one in call.context.withs if isinstance(one.node, ast.expr)):
            return True
        if self._nowhere:
            return False
        if not self.reach.leads_to(call):
            return False
        if not isinstance(call.owner, Instance) or not is_module(call.owner):
            return True
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
        _Mentions(node.name, frozenset(_called(own(node))), _turn_evaluation_on(own(node)))
        for node in walk(source.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def _turn_evaluation_on(nodes: Iterable[ast.AST]) -> bool:
    """Say whether any of some nodes does, or may."""
    called = {one.func for one in nodes if isinstance(one, ast.Call)}
    return any(turns_evaluation_on(one) for one in nodes if one not in called)


def turns_evaluation_on(node: ast.AST) -> bool:
    """Say whether a node may turn evaluation mode on: `model.eval()`, `model.train(flag)`, `x.training = ...`."""
    if isinstance(node, ast.Call):
        name = last_name(node.func)
        of = last_name(node.func.value).lower() if isinstance(node.func, ast.Attribute) else ""
        if name == "eval" and isinstance(node.func, ast.Attribute):
            return not node.args and not node.keywords and not _NO_NETWORK.search(of)
        if name == "train" and isinstance(node.func, ast.Attribute):
            given = [*node.args, *(one.value for one in node.keywords)]
            always = len(given) == 1 and isinstance(given[0], ast.Constant) and given[0].value is True
            return len(given) == 1 and not always and not _NO_NETWORK.search(of)
        return _MODE_NAME.search(name.lower()) is not None
    if isinstance(node, ast.Attribute) and node.attr == "training":
        return isinstance(node.ctx, ast.Store)
    is_handed_on = isinstance(node, ast.Attribute) and node.attr == "eval" and isinstance(node.ctx, ast.Load)
    return is_handed_on and not _OPTIONS.search(last_name(node.value))  # type: ignore[attr-defined]


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
        top = own(analysis.source.tree)
        self.top_calls = _called(top)
        self.top = _turn_evaluation_on(top) or bool(self.top_calls & self.names)
        self.callers: dict[str, set[str]] = {}
        for one in functions:
            for name in one.called:
                self.callers.setdefault(name, set()).add(one.name)

    def leads_to(self, call: Call) -> bool:
        """Say whether evaluation mode may be on at a call: its function, or one on a way to it, may turn it on."""
        function = call.context.function
        if function is None:
            return self.top
        if _has_backward(function.node):  # it trains, too: no caller can have turned it on for all of it
            return function.name in self.names
        members = _members_around(function)
        if any(name in self.names and _SETS_UP.search(name) for name in members):
            return True
        seen: set[str] = set()
        left = {function.name, *_functions_around(function)}
        while left:
            name = left.pop()
            seen.add(name)
            if name in self.names or (self.top and name in self.top_calls):
                return True
            left |= self.callers.get(name, set()) - seen
        if function.name in self.callers or function.name in self.top_calls:
            return False
        return _others_may_evaluate(call.context.source, function.name)


def _others_may_evaluate(source: Source, name: str) -> bool:
    """Say whether nobody in the project calls a function, or a file that does also turns evaluation mode on."""
    files = project_files(source.path)
    calls = re.compile(rf"(?<!def )\b{re.escape(name)}\s*\(")
    texts = [text_of(one) for one in files or () if not Path(one).samefile(source.path)]
    users = [text for text in texts if name in text and calls.search(text)]
    return not users or any(_EVAL_TEXT.search(text) for text in users)


_EVAL_TEXT = re.compile(r"\.eval\(\s*\)|\.train\(\s*(mode\s*=\s*)?False|eval_mode|set_eval")


def _functions_around(function: Function) -> set[str]:
    """Return the names of the functions that a function is defined in: they prepare what it uses."""
    first = function.node.lineno
    outer = [one for one in walk(function.source.tree) if isinstance(one, ast.FunctionDef) and one.lineno < first]
    return {one.name for one in outer if first <= (one.end_lineno or 0)}


def _members_around(function: Function) -> set[str]:
    """Return the names of the methods of the class that a function, or the one around it, is in."""
    first, classes = function.node.lineno, [one for one in walk(function.source.tree) if isinstance(one, ast.ClassDef)]
    around = [one for one in classes if one.lineno <= first <= (one.end_lineno or 0)]
    owner = function.owner.members if function.owner is not None else {}
    return set(owner) | {getattr(one, "name", "") for cls in around for one in cls.body}


_SETS_UP = re.compile(r"^__|setup|set_|_set|load|build|prepare|init|config|^on_|mode|before|begin|start|pre_|eval_?$")


def _called(nodes: Iterable[ast.AST]) -> set[str]:
    """Name what is called, or handed over, as to what times it or runs it in a pool: it is called there."""
    calls = [one for one in nodes if isinstance(one, ast.Call)]
    given = [arg for one in calls for arg in (*one.args, *(each.value for each in one.keywords))]
    methods = (one for one in given if isinstance(one, ast.Attribute) and last_name(one.value) == "self")
    handed = {last_name(one) for one in (*methods, *(one for one in given if isinstance(one, ast.Name)))}
    return {last_name(one.func) for one in calls} | handed


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
    own = isinstance(call.owner, Instance) and call.owner.cls is not None and is_module(call.owner)
    wraps = isinstance(call.owner, Instance) and call.owner.type in WRAPPERS
    if call.name and not call.name.startswith("?.") and not ((own or wraps) and call.name.endswith("__call__")):
        return False
    named = last_name(call.node.func).strip("_") in _MODELS  # a capitalised name is a class
    return named and bool(call.node.args or call.node.keywords)


def _sets_a_mode(call: Call) -> bool:
    """Say whether a call, by its name, may set a mode: of a context, or of what is not known."""
    return _MODE_NAME.search(last_name(call.node.func).lower()) is not None


def _is_an_evaluation(call: Call) -> bool:
    """Say whether a call stands in a function named for evaluating, or a loop over held-out data; samples are none."""
    functions = [call.context.function, *(one.context.function for one in call.context.callers)]
    names = [one.name for one in functions if one is not None]
    if any(_ON_PURPOSE.search(one) for one in names):
        return False
    loops = [loop for loop in call.context.all_loops() if isinstance(loop, ast.For)]
    return any(_HELD_OUT.search(ast.unparse(loop.iter)) for loop in loops[-1:]) or any(
        _EVALUATES.search(one) for one in names[:1]
    )


_ON_PURPOSE = re.compile(
    r"(^|_)(mc|bayes\w*|uncertain\w*|stochastic|update_bn|bn|calib\w*)($|_)|dropout", re.IGNORECASE
)


def _evaluates(call: Call) -> bool:
    """Say whether a call evaluates: without gradients in a loop that does not train, or in a function named so."""
    function = call.context.function
    loops = [loop for loop in call.context.all_loops() if isinstance(loop, ast.For | ast.While)]
    inner = [loop for loop in loops if loop in call.context.loops]
    if _has_backward(inner[-1] if inner else body_of(call.context)):
        return False
    without_gradients = call.context.under(*NO_GRAD)
    if without_gradients and loops:
        return True
    if any(isinstance(loop, ast.For) and _HELD_OUT.search(ast.unparse(loop.iter)) for loop in loops[-1:]):
        return True
    named = function is not None and _EVALUATES.search(function.name) is not None
    named = named and (without_gradients or bool(function.node.args.args))  # type: ignore[union-attr]
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
