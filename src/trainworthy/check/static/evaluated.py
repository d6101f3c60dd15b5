"""Models that are evaluated in training mode: nothing on the way to their call turns evaluation mode on."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.everywhere import project_files, text_of
from trainworthy.check.static.external import is_loss_module, is_module, is_pretrained
from trainworthy.check.static.facts import Call
from trainworthy.check.static.frameworks import uses_outside
from trainworthy.check.static.modes import NO_GRAD
from trainworthy.check.static.queries import body_of, in_a_module, inner_modules
from trainworthy.check.static.repeats import with_repeats
from trainworthy.check.static.source import Source
from trainworthy.check.static.tree import nodes_of, unparsed, walk
from trainworthy.check.static.turned_on import NO_NETWORK, Modes, has_backward, turns_evaluation_on
from trainworthy.check.static.values import WRAPPERS, Function, Instance

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
    modes = Modes(analysis)
    loads = "load_state_dict" in analysis.source.words and "backward" not in analysis.source.words
    loaded = _loaded_objects(analysis)
    done: set[object] = set()
    for call in with_repeats(analysis, _may_be_a_model):  # a function is evaluated in one of the ways that lead there
        body = body_of(call.context)
        layers = _layers_with_modes(call)
        evaluates = _evaluates(call)
        if body in done or not (evaluates or (not layers and (loads or loaded(call)))):
            continue
        trains = _is_an_evaluation(call) and modes.keeps_training(call)
        if modes.may_evaluate(call) and not trains:
            continue
        if from_files and last_name(call.node.func) not in trained:
            continue
        if (in_a_module(call) and not _is_own_evaluation(call)) or (not layers and (_acts(call) or _is_a_step(call))):
            continue
        whole = not has_backward(body) and (
            (loaded(call) and _siblings_have_layers(analysis)) or (loads and _is_script_without_gradients(analysis))
        )
        if not (evaluates or (whole and not layers)) or (not layers and _learns_from_it(analysis, call)):
            continue
        if layers or whole or _may_have_layers(analysis, call, trains=trains):
            done.add(body)
            yield call, layers


def _may_be_a_model(call: Call) -> bool:
    if not (_layers_with_modes(call) or _called_like_a_model(call) or _runs_the_network(call)):
        return False
    return not any(turns_evaluation_on(one) for one in nodes_of(call.node.func, ast.Call))  # `model.eval()(x)`


def _runs_the_network(call: Call) -> bool:
    """Say whether a method of the project's network is called that calls its parts, as another `forward`."""
    owner, method = call.owner, call.method
    cls = owner.cls if isinstance(owner, Instance) and is_module(owner) else None
    if cls is None or method.startswith("_") or "init" in method or last_name(call.node.func) != method:
        return False
    if not isinstance(call.node.func, ast.Attribute) or last_name(call.node.func.value) in ("self", "super"):
        return False
    member = cls.lookup(method)
    return isinstance(member, Function) and any(
        isinstance(one, ast.Call)
        and isinstance(one.func, ast.Attribute)
        and unparsed(one.func.value) == "self"
        and isinstance(owner, Instance)
        and is_module(owner.attrs.get(one.func.attr) or Instance(""))
        for one in walk(member.node)
    )


def _may_have_layers(analysis: Analysis, call: Call, *, trains: bool = False) -> bool:
    """Say whether a program trains, and the network's classes have such layers; its project, if they are not known."""
    if not (trains or has_backward(analysis.source.tree)) or "torch" not in analysis.source.words:
        return False
    if isinstance(call.owner, Instance) and is_module(call.owner) and call.owner.cls and call.method != "forward":
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
    itself = unparsed(call.node.func) in ("self", "self.forward")
    return itself and owner is not None and function is not None and function.name != "forward" and _trains(owner.node)


def _trains(cls: ast.ClassDef) -> bool:
    return has_backward(cls) and any(
        isinstance(one, ast.Call) and unparsed(one.func) in ("self.train", "super().train") for one in walk(cls)
    )


def _put_into_training_mode(analysis: Analysis) -> Iterator[str]:
    """Yield the names of what a program puts into training mode: networks from files come in evaluation mode."""
    for call in analysis.method_calls("train"):
        if not call.node.args and not call.node.keywords and isinstance(call.node.func, ast.Attribute):
            name = last_name(call.node.func.value)
            if call.function is None and not NO_NETWORK.search(name.lower()):
                yield name


def _learns_from_it(analysis: Analysis, call: Call) -> bool:
    """Say whether the same turn calls the same model with gradients, too: targets of a loss are no evaluation."""
    text = unparsed(call.node.func)
    return any(
        one.context.function is call.context.function
        and one.context.loops[-1:] == call.context.loops[-1:]
        and unparsed(one.node.func) == text
        and not one.context.under(*NO_GRAD)
        for one in analysis.all_calls
        if one.node is not call.node and call.context.under(*NO_GRAD)
    )


def _acts(call: Call) -> bool:
    """Say whether a call chooses or judges an action, where a policy that learns is in its training mode."""
    functions = [call.context.function, *(one.context.function for one in call.context.callers)]
    return any(_ACTS.search(one) for one in (call.method, *(one.name for one in functions if one is not None)))


def _is_a_step(call: Call) -> bool:
    """Say whether a call is on the way of a step that a framework's loop calls, which sets the mode before."""
    functions = [call.context.function, *(one.context.function for one in call.context.callers)]
    return any(one is not None and one.owner is not None and _A_STEP.search(one.name) for one in functions)


_A_STEP = re.compile(r"^(train|training|val|valid|validation|test)_step$")


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


def _is_an_evaluation(call: Call) -> bool:
    """Say whether a call stands in a function named for evaluating, or a loop over held-out data; samples are none."""
    functions = [call.context.function, *(one.context.function for one in call.context.callers)]
    names = [one.name for one in functions if one is not None]
    if any(_ON_PURPOSE.search(one) for one in names):
        return False
    loops = [loop for loop in call.context.all_loops() if isinstance(loop, ast.For)]
    return any(_HELD_OUT.search(unparsed(loop.iter)) for loop in loops[-1:]) or any(
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
    if has_backward(inner[-1] if inner else body_of(call.context)):
        return False
    without_gradients = call.context.under(*NO_GRAD)
    if without_gradients and loops:
        return True
    if any(isinstance(loop, ast.For) and _HELD_OUT.search(unparsed(loop.iter)) for loop in loops[-1:]):
        return True
    named = function is not None and _EVALUATES.search(function.name) is not None
    named = named and (without_gradients or bool(function.node.args.args))  # type: ignore[union-attr]
    return named and not has_backward(body_of(call.context)) and "bn" not in function.name  # type: ignore[union-attr]


class _loaded_objects:  # noqa: N801 - used like a function
    """Whether a call is of something that `torch.load` returned whole.

    A program that loads a model into a name uses it; one that keeps it in an object is a part of others, which saved
    the model in the mode that they want.
    """

    def __init__(self, analysis: Analysis) -> None:
        loads = {call.node for call in analysis.calls("torch.load")}
        self.names = {
            unparsed(target)
            for node in analysis.nodes.get(ast.Assign, ())
            if isinstance(node, ast.Assign) and node.value in loads
            for target in node.targets
            if isinstance(target, ast.Name)
        }

    def __call__(self, call: Call) -> bool:
        return unparsed(call.node.func) in self.names
