"""Training and evaluation mode: what a program turns on and off, and what it leaves so."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_loss_module, is_module, is_pretrained
from trainworthy.check.static.facts import Call, Context, LoopNode
from trainworthy.check.static.queries import body_of, inner_modules, once_per_place, receiver
from trainworthy.check.static.values import Const, Instance, Parameters, Value

NO_GRAD = ("torch.no_grad", "torch.inference_mode", "torch.autograd.grad_mode.inference_mode")
_MODE_SET = re.compile(r"\.training\s*=[^=]")
_EVALUATION_MODE = re.compile(
    r"\.eval\s*\(|\.eval\b(?!_)|\.train\(\s*(?!True\s*\)|mode\s*=\s*True\s*\)|\))|\.training\s*=[^=]"
)
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
_MODELS = frozenset("model net network unet gpt encoder decoder classifier generator score_model policy_net".split())
# What puts models into the right mode by itself, or where models come in evaluation mode.
_OTHERS_DO = (
    "lightning", "pytorch_lightning", "Trainer", "ignite", "fastai", "from_pretrained", "skorch", "keras", "catalyst",
    "composer", "detectron2", "mmcv", "mmengine", "unittest", "pytest",
)  # fmt: skip
_EVALUATES = re.compile(
    r"(^|_)(eval|evaluate|validate|validation|val|predict|inference|infer|accuracy)($|_)|^test$|^test_(epoch|model|loop|net)"
)


# --- evaluation mode that stays -------------------------------------------------------------------------------------


def kept_evaluation_modes(analysis: Analysis) -> Iterator[tuple[Call, Call]]:
    """Yield pairs of an `eval()` and the backward pass that the next turn of their loop runs in that mode."""
    backwards = list(analysis.method_calls("backward"))
    if not backwards or any(_MODE_SET.search(source.code) for source in analysis.sources):
        return
    trained = _Trained(analysis)
    back = [call for call in analysis.method_calls("train") if call.constant(0, "mode") is not False]
    done: set[ast.AST] = set()
    for call in analysis.method_calls("eval"):  # each of the ways that lead to it
        if call.node in done or call.node.args or call.node.keywords or call.context.under("torch.jit"):
            continue
        for backward in backwards:
            loop = _innermost_shared(backward.context, call.context)
            elsewhere = call.context.function is not backward.context.function
            if loop is None or not (call.at > backward.at or elsewhere) or not trained.has(call, backward):
                continue
            if _comes_back(analysis, call, back, loop) or _leaves(loop, call):
                continue
            done.add(call.node)
            yield call, backward
            break


def _innermost_shared(a: Context, b: Context) -> LoopNode | None:
    others = set(b.all_loops())
    shared = [loop for loop in a.all_loops() if loop in others and isinstance(loop, ast.For | ast.While)]
    return shared[-1] if shared else None


def _comes_back(analysis: Analysis, call: Call, back: list[Call], loop: LoopNode) -> bool:
    """Say whether anything in the loop may set training mode: `train()`, or a call named so."""
    for one in back:
        known_other = (
            isinstance(one.owner, Instance) and isinstance(call.owner, Instance) and one.owner is not call.owner
        )
        if loop in one.context.all_loops() and not known_other:
            return True
    for one in analysis.all_calls:
        unknown = not one.name or one.name.startswith("?.")
        if unknown and loop in one.context.all_loops() and "train" in last_name(one.node.func).lower():
            return True
    return False


def _leaves(loop: LoopNode, call: Call) -> bool:
    """Say whether the loop is left in the turn that sets evaluation mode."""
    anchors = {call.node, *(one.node for one in call.context.callers)}
    return _block_leaves(loop.body, anchors)  # type: ignore[union-attr]


def _block_leaves(statements: list[ast.stmt], anchors: set[ast.Call]) -> bool:
    for at, statement in enumerate(statements):
        if not any(one in anchors for one in ast.walk(statement)):
            continue
        if any(isinstance(one, ast.Break | ast.Return | ast.Raise) for one in statements[at:]):
            return True
        for name in ("body", "orelse", "finalbody"):
            inner = getattr(statement, name, None)
            if (
                isinstance(inner, list)
                and not isinstance(statement, ast.For | ast.While)
                and _block_leaves(inner, anchors)
            ):
                return True
    return False


class _Trained:
    """Which models a program trains: objects whose parameters an optimizer has, and names that are used so."""

    def __init__(self, analysis: Analysis) -> None:
        self.objects: set[int] = set()
        self.names: set[tuple[object, str]] = set()
        self.calls = analysis.all_calls
        for call in analysis.method_calls("parameters", "named_parameters"):
            if isinstance(call.result, Parameters) and isinstance(call.owner, Instance):
                self.objects.add(id(call.owner))
            self.names.add((call.context.source, receiver(call)))

    def has(self, call: Call, backward: Call) -> bool:
        """Say whether what a call is a method of is trained by the function that a backward pass stands in."""
        if is_module(call.owner):
            return id(call.owner) in self.objects or self._wrapped(call.owner)
        name = receiver(call)
        if call.context.function is not backward.context.function:
            name = _as_the_caller_says(call, name)
        return bool(name) and ((backward.context.source, name) in self.names or self._called(name, backward))

    def _called(self, name: str, backward: Call) -> bool:
        """Say whether what a name stands for is called with gradients before a backward pass of the same turn."""
        return any(
            one.at < backward.at
            and one.context.function is backward.context.function
            and one.context.loops == backward.context.loops
            and not one.context.under(*NO_GRAD)
            and ast.unparse(one.node.func) == name
            for one in self.calls
        )

    def _wrapped(self, owner: Value) -> bool:
        inner = owner.attrs.get("module") if isinstance(owner, Instance) else None
        return inner is not None and id(inner) in self.objects


def _as_the_caller_says(call: Call, name: str) -> str:
    """Return what the function's caller calls the object; "" where that is not clear."""
    function = call.context.function
    if function is None or not call.context.callers:
        return ""
    if name.startswith("self."):
        return name
    arguments = [one.arg for one in (*function.node.args.posonlyargs, *function.node.args.args)]
    caller = call.context.callers[-1].node
    for keyword in caller.keywords:
        if keyword.arg == name:
            return ast.unparse(keyword.value)
    if arguments[:1] == ["self"]:
        arguments = arguments[1:]
    at = arguments.index(name) if name in arguments else len(caller.args)
    return ast.unparse(caller.args[at]) if at < len(caller.args) else ""


# --- evaluation in training mode ------------------------------------------------------------------------------------


def evaluated_in_training_mode(analysis: Analysis) -> Iterator[tuple[Call, str]]:
    """Yield calls that evaluate a model in a program that never turns evaluation mode on, with what shows it."""
    if analysis.mentions(*_OTHERS_DO) or not analysis.finished:
        return
    modes = _Modes(analysis)
    trains = "backward" in analysis.source.words  # a library's function gets its model in the mode the caller chose
    has_layers = analysis.mentions(*_STATEFUL_WORDS)
    loads = "load_state_dict" in analysis.source.words and "backward" not in analysis.source.words
    loaded = _loaded_objects(analysis)
    done: set[object] = set()
    for call in analysis.all_calls:  # a function is evaluated in one of the ways that lead there
        body = body_of(call.context)
        layers = _layers_with_modes(call)
        if body in done or not (layers or _called_like_a_model(call)) or modes.may_evaluate(call) or _in_a_module(call):
            continue
        whole = (loaded(call) and _siblings_have_layers(analysis)) or (loads and _is_script_without_gradients(analysis))
        if not layers and not (has_layers and trains) and not whole:
            continue
        if not layers and _learns_from_it(analysis, call):
            continue
        if _evaluates(call) or (whole and not layers):
            done.add(body)
            yield call, layers


def _learns_from_it(analysis: Analysis, call: Call) -> bool:
    """Say whether the function calls the same model with gradients, too: targets of a loss are no evaluation."""
    text = ast.unparse(call.node.func)
    return any(
        one.context.function is call.context.function
        and ast.unparse(one.node.func) == text
        and not one.context.under(*NO_GRAD)
        for one in analysis.all_calls
        if one.node is not call.node and call.context.under(*NO_GRAD)
    )


class _Modes:
    """Where evaluation mode is turned on, in what this program reaches."""

    def __init__(self, analysis: Analysis) -> None:
        self.somewhere = bool(_EVALUATION_MODE.search(analysis.source.code))
        self.calls = [
            call
            for call in (*analysis.method_calls("eval"), *analysis.method_calls("train"))
            if call.method == "eval" or call.constant(0, "mode") not in (..., True) or call.node.args
        ]

    def may_evaluate(self, call: Call) -> bool:
        """Say whether any may be about what is called: the same object, one that holds it, an unknown one."""
        if not self.somewhere and not self.calls:
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


def _siblings_have_layers(analysis: Analysis) -> bool:
    """Say whether a file of the same folder, where a pickled module's class may stand, has layers with modes."""
    folder = Path(analysis.source.path).parent
    for path in sorted(folder.glob("*.py"))[:40]:
        try:
            if re.search(r"Dropout|BatchNorm|dropout", path.read_text(encoding="utf-8", errors="replace")):
                return True
        except OSError:
            continue
    return False


def _is_script_without_gradients(analysis: Analysis) -> bool:
    words = analysis.source.words
    return "__main__" in analysis.source.code and ("no_grad" in words or "inference_mode" in words)


def _in_a_module(call: Call) -> bool:
    """Say whether a call stands in a method of a module: its mode is the business of whoever uses the module."""
    function = call.context.function
    if function is None or function.owner is None:
        return False
    return is_module(function.owner.prototype or Instance(function.owner.outside_base()))


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
    named = function is not None and _EVALUATES.search(function.name) is not None and bool(function.node.args.args)
    return named and not _has_backward(body_of(call.context)) and "bn" not in function.name  # type: ignore[union-attr]


def _has_backward(node: ast.AST) -> bool:
    return any(getattr(one, "attr", "") == "backward" for one in ast.walk(node))


class _loaded_objects:  # noqa: N801 - used like a function
    """Whether a call is of something that `torch.load` returned whole."""

    def __init__(self, analysis: Analysis) -> None:
        loads = {call.node for call in analysis.calls("torch.load")}
        self.names = {
            ast.unparse(target)
            for node in analysis.nodes.get(ast.Assign, ())
            if isinstance(node, ast.Assign) and node.value in loads
            for target in node.targets
        }

    def __call__(self, call: Call) -> bool:
        return ast.unparse(call.node.func) in self.names


# --- training mode within evaluation --------------------------------------------------------------------------------


def training_mode_without_gradients(analysis: Analysis) -> Iterator[tuple[Call, Call]]:
    """Yield `train()` of a model that was put into evaluation mode, and its next call, both where gradients are off."""
    evals = list(analysis.method_calls("eval"))
    for call in once_per_place(analysis.method_calls("train")):
        mode = call.argument(0, "mode")
        if not call.context.under(*NO_GRAD) or (
            mode is not None and not (isinstance(mode, Const) and mode.value is True)
        ):
            continue
        name = receiver(call)
        if not any(
            receiver(one) == name and one.context.function is call.context.function and one.at < call.at
            for one in evals
        ):
            continue
        for one in analysis.all_calls:
            if (
                one.at > call.at
                and one.context.function is call.context.function
                and one.context.loops == call.context.loops
                and one.context.branches[: len(call.context.branches)] == call.context.branches
                and one.context.under(*NO_GRAD)
                and ast.unparse(one.node.func) == name
            ):
                if not any(call.at < back.at < one.at and receiver(back) == name for back in evals):
                    yield call, one
                break
