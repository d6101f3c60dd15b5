"""Loaders that a training goes through in the order of their data."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call, Iteration
from trainworthy.check.static.queries import body_of, names_in, unwrapped
from trainworthy.check.static.tree import nodes_of, unparsed, walk
from trainworthy.check.static.values import UNKNOWN, Const, Function, Instance, ProjectClass, Sequence, Tensor, Value

LOADERS = (
    "torch.utils.data.DataLoader",
    "torch_geometric.loader.DataLoader",
    "torch_geometric.data.DataLoader",
    "monai.data.DataLoader",
    "torchdata.stateful_dataloader.StatefulDataLoader",
)
_TRAINING = re.compile(r"(^|_)(train|training|trn|tr)($|_|\d|er$|_?(data|set|ds|dl|loader|dataset|dataloader))")
_HELD_OUT = re.compile(
    r"(^|_)(val|valid|validation|eval|evaluation|test|dev|infer|predict|calib\w*)($|_|\d|_?(set|data|loader|ds))"
)
# Orders that a program makes itself, and data that has none.
_SHUFFLED = re.compile(
    r"\bshuffle\w*\s*\(|\.shuffle\b(?!\s*=)|permutation|randperm|random_split|train_test_split|\.sample\(|KFold|Subset\(|"
    r"random\.(choice|choices|sample)\b|SubsetRandom|streaming\s*=\s*True|IterableDataset|IterDataPipe|webdataset"
)
_DRAWS = re.compile(r"\b(random|rng|rand\w*|choice|choices|sample|permutation|shuffle\w*|normal|uniform|default_rng)\b")
_BY_LENGTH = re.compile(r"\bsort(ed)?\(.*(len|length|duration|size)")  # so that samples of a batch are alike
_IN_ORDER = re.compile(  # text, steps of time and films, whose batches may go on from one another
    r"(^|_)(text|lm|corpus|char|chars|token|tokens|wiki\w*|bptt|stream|streams|frame|frames|sequential|ordered|"
    r"iter|iterator|iterable|pipe|datapipe|generator)($|_)|(Text|LM|Corpus|Char|Stream|Sequential|Ordered|Frames|Iter)",
    re.ASCII,
)
_CARRIED = re.compile(
    r"(^|_)(hiddens?|hx|hidden_states?|carry|mems|recurrent_state|prev_state|rnn_state|states?|h|h_?n)$"
)
_GENERATED = frozenset(
    "rand randn randint rand_like randn_like normal randperm random multivariate_normal FakeData".split()
)


def read_in_order(analysis: Analysis) -> Iterator[tuple[Call, Iteration]]:
    """Yield loaders that neither shuffle nor have a sampler, and the loop that learns from their batches."""
    loaders = [one for one in analysis.calls(*LOADERS) if _keeps_the_order(one)]
    if not loaders:
        return
    for call in loaders:
        loop = next((one for one in analysis.iterations if _goes_through(analysis, one, call)), None)
        if loop is not None and _is_training_data(analysis, call) and not _carries_a_state(loop):
            yield call, loop


def _keeps_the_order(call: Call) -> bool:
    """Say whether nothing is said of the order, and batches are parts of the whole."""
    if call.starred and any(one.arg is None and not _is_known_dict(one.value, call) for one in call.node.keywords):
        return False
    if any(isinstance(one, ast.Starred) for one in call.node.args):
        return False
    given = [call.argument_node(2, "shuffle"), call.argument_node(3, "sampler"), call.argument_node(4, "batch_sampler")]
    if any(one is not None for one in given):
        return False
    size = call.argument_node(1, "batch_size")
    return size is None or not (
        (isinstance(size, ast.Constant) and size.value is None)
        or any(isinstance(one, ast.Call) and getattr(one.func, "id", "") == "len" for one in walk(size))
    )


def _is_known_dict(node: ast.expr, call: Call) -> bool:
    """Say whether `**node` is a dict that is written out in the file, and says nothing of the order."""
    name = node.id if isinstance(node, ast.Name) else ""
    texts = [
        one.value
        for one in nodes_of(call.context.source.tree, ast.Assign)
        if any(getattr(each, "id", "") == name for each in one.targets)
    ]
    entries = [key for one in texts for each in nodes_of(one, ast.Dict) for key in each.keys]
    written = [one for one in texts if isinstance(one, ast.Dict | ast.IfExp)]
    changed = re.search(rf"\b{re.escape(name)}(\[|\.update\()", call.context.source.code) if name else None
    known = bool(texts) and len(written) == len(texts) and changed is None
    return (
        known
        and all(isinstance(key, ast.Constant) and "sampl" not in str(key.value) for key in entries)
        and not any(isinstance(key, ast.Constant) and key.value == "shuffle" for key in entries)
    )


# --- the loop -------------------------------------------------------------------------------------------------------


def _goes_through(analysis: Analysis, loop: Iteration, loader: Call) -> bool:
    """Say whether a loop takes a loader's batches, in each turn of one around it, and steps with them."""
    if not isinstance(loop.node, ast.For | ast.AsyncFor) or not _repeats(loop, loader):
        return False
    data = unwrapped(loop.iterable)
    if isinstance(data, Instance) and data.made_by is not None and data.made_by.node is loader.node:
        return _learns(analysis, loop)
    of_unknown = data is UNKNOWN or data is None or (isinstance(data, Instance) and data.type not in LOADERS)
    return of_unknown and _is_handed_on(analysis, loop, loader) and _learns(analysis, loop)


def _repeats(loop: Iteration, loader: Call) -> bool:
    """Say whether a loop is run several times with one loader, not with one that is made anew each time."""
    around = [one for one in loop.context.all_loops() if isinstance(one, ast.For | ast.While)]
    return any(one not in loader.context.all_loops() for one in around) or (bool(around) and _are_numbers(loader))


def _are_numbers(loader: Call) -> bool:
    """Say whether a loader's data is `range(n)`: indices in their order, whenever it is made."""
    data = loader.argument_node(0, "dataset")
    return isinstance(data, ast.Call) and getattr(data.func, "id", "") == "range"


def _is_handed_on(analysis: Analysis, loop: Iteration, loader: Call) -> bool:
    """Say whether a loop goes through a name that was bound to a loader, and to what a wrapper made of it."""
    text = unparsed(loop.node.iter)
    if "zip(" in text or loop.context.source is not loader.context.source:
        return False
    names = {
        unparsed(one.target)
        for one in analysis.stores
        if getattr(one.node, "value", None) is loader.node and one.context.function is loop.context.function
    }
    return any(isinstance(one, ast.Name | ast.Attribute) and unparsed(one) in names for one in walk(loop.node.iter))


def _learns(analysis: Analysis, loop: Iteration) -> bool:
    """Say whether a loop goes backward and steps in each turn, itself or in what it calls."""
    below = {
        one.method
        for one in analysis.method_calls("backward", "manual_backward", "step", "zero_grad")
        if loop.node in one.context.all_loops()
    } | {one.attr for one in nodes_of(loop.node, ast.Attribute)}
    return bool(below & {"backward", "manual_backward"}) and bool(below & {"step", "zero_grad"})


def _carries_a_state(loop: Iteration) -> bool:
    """Say whether a hidden state is kept from batch to batch: they may go on from one another."""
    within = walk(loop.node)
    stored = {one for one in nodes_of(body_of(loop.context), ast.Name) if isinstance(one.ctx, ast.Store)}
    inside = {one.id for one in stored if one in within and _CARRIED.search(one.id)}
    return any(one.id in inside for one in stored if one not in within)


# --- the data -------------------------------------------------------------------------------------------------------


def _is_training_data(analysis: Analysis, call: Call) -> bool:
    """Say whether a loader's data is a set of samples that has an order, and nothing makes another."""
    node = call.argument_node(0, "dataset")
    data = call.argument(0, "dataset")
    if node is None:
        return False
    names = _names_of(analysis, call, node)
    if any(_HELD_OUT.search(_words(one)) for one in names):
        return False
    if isinstance(data, Instance) and data.type.startswith("torchvision.datasets."):
        return _is_for_training(data)
    sources = {call.context.source, *analysis.sources, *(one.source for one in _classes(data))}
    if any(_SHUFFLED.search(one.code) for one in sources) or any(_IN_ORDER.search(one) for one in names):
        return False
    if isinstance(data, Instance) and data.cls is not None:
        return _has_a_fixed_order(data)
    if isinstance(data, Instance) and data.type == "torch.utils.data.TensorDataset":
        made = data.made_by
        return made is not None and not any(_is_generated(one) for one in made.args[:1])
    if _are_numbers(call):
        return True
    if "torchtext" in call.context.source.words:  # its sets are streams since 0.12
        return False
    if isinstance(data, Tensor | Sequence | Const) or (isinstance(data, Instance) and data.type.startswith("torch.")):
        return False
    return any(_TRAINING.search(_words(one)) for one in names)


def _names_of(analysis: Analysis, call: Call, data: ast.expr) -> set[str]:
    """Return what a loader and its data are called."""
    targets = [one.target for one in analysis.stores if getattr(one.node, "value", None) is call.node]
    keys = {one.value for one in nodes_of(data, ast.Constant) if isinstance(one.value, str)}
    return {name for one in (data, *targets) for name in names_in(one)} | {key for key in keys if key.isidentifier()}


def _words(name: str) -> str:
    """Write a name in small letters, its words set apart."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def _is_for_training(data: Instance) -> bool:
    """Say whether a set of torchvision's is not made for evaluation, and is read from files."""
    made = data.made_by
    if made is None or data.type.rpartition(".")[2] == "FakeData":
        return False
    train = made.argument(None, "train")
    split = made.argument(None, "split")
    if split is not None and not (isinstance(split, Const) and "train" in str(split.value)):
        return False
    return train is None or (isinstance(train, Const) and train.value is True)


def _classes(data: Value | None) -> tuple[ProjectClass, ...]:
    cls = data.cls if isinstance(data, Instance) else None
    return cls.order() if cls is not None else ()


def _has_a_fixed_order(data: Instance) -> bool:
    """Say whether a class of the project gives its samples by their index, and draws nothing."""
    cls = data.cls
    item = cls.lookup("__getitem__") if cls is not None else None
    if cls is None or not isinstance(item, Function) or cls.lookup("__iter__") is not None:
        return False
    texts = [one.source.segment(one.node) for one in cls.order()]
    return not any(_DRAWS.search(one) or _BY_LENGTH.search(one) for one in texts) and not _IN_ORDER.search(
        cls.node.name
    )


def _is_generated(value: Value) -> bool:
    made = value.made_by if isinstance(value, Tensor | Instance) else None
    return made is not None and made.method in _GENERATED
