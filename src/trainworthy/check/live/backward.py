"""Backward passes: what the graph looks like, and which gradients are old."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from trainworthy.check.finding import Place
from trainworthy.check.live.broadcasting import ELEMENTWISE
from trainworthy.check.live.facts_seldom import DividedMean, MixedTerms, WeighedMean
from trainworthy.check.live.facts_steps import Backward, ChainFault
from trainworthy.check.live.gradients import Clearing, Contributions, Gradients
from trainworthy.check.live.operators import PLACE_KEY, OperatorWatch
from trainworthy.check.live.terms import divided_again, summed_beside_means, terms_of, weighed_after_the_mean
from trainworthy.check.live.watch import Watch, finite_reading, operation_of, plain

_MAX_NODES = 200_000
_MAX_ELEMENTWISE = 6
_LOOKS_AT_A_LINE = 8  # backward passes that begin there
_OUTLINES_AT_A_LINE = 32  # further looks, each at a graph that begins in another way
_OUTLINE_NODES = 16
_TERMS_DEEP, _MAX_TERMS = 3, 16
_TOKEN_KEY = "trainworthy.step"
_PASS_KEY = "trainworthy.pass"  # a backward pass went through the node
# Nodes between a loss and its terms, and nodes that only look at the same numbers in another form.
_SUMS = ("Add", "Mul", "Div", "Mean", "Sum", "Neg", "Sub")
VIEWS = ("View", "UnsafeView", "Transpose", "Permute", "Squeeze", "Unsqueeze", "ToCopy", "Slice", "Select", "T",
          "Clone", "Expand", "Alias", "ReshapeAlias", "Index", "Reshape", "SplitWithSizes", "Unbind")  # fmt: skip


class BackwardWatch:
    """Looks at the graph before the engine runs, and at gradients before and after."""

    compiled_code_sees_it = False

    def __init__(self, watch: Watch, gradients: Gradients, operators: OperatorWatch) -> None:
        self.watch = watch
        self.gradients = gradients
        self.operators = operators
        # Index of the fact, loss, sums of what the model was given: read when the step ends.
        self.losses: list[tuple[int, torch.Tensor, list[torch.Tensor]]] = []
        self.node_readings: list[tuple[Any, int, list[torch.Tensor]]] = []
        self.hook_nodes = True
        self._places: dict[tuple[int, torch.device], torch.Tensor] = {}
        self._depth = 0
        self._looked_at: dict[Place, int] = {}
        self._outlines: dict[Place, set[tuple[type, ...]]] = {}
        self.contributions = Contributions()
        self.clearing = Clearing()
        self.on_backward: list[Callable[[], None]] = []
        self.on_end: list[Callable[[], None]] = []
        self.on_graph: Callable[[list[Any]], None] = lambda nodes: None
        self.input_tensors: Callable[[], list[torch.Tensor]] = list

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Replace ``torch.autograd.backward``, and ``Tensor.backward`` that calls it, while the context is open."""
        tensors: Any = torch.Tensor
        run, method, watch = torch.autograd.backward, tensors.backward, self.watch

        def watched(tensors: Any, *args: Any, **kwargs: Any) -> None:
            if not watch.looking or watch.in_backward or watch.busy:
                run(tensors, *args, **kwargs)
                return
            with self._outermost(), self.operators.set_aside():
                watch.rely_on("backward passes", self._before, tensors)
                watch.in_backward += 1
                try:
                    run(tensors, *args, **kwargs)
                finally:
                    watch.in_backward -= 1
                    watch.rely_on("backward passes", self._after)

        def watched_method(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> None:
            if not watch.looking or watch.in_backward or watch.busy:
                method(tensor, *args, **kwargs)
                return
            # The method goes through the mode, which is back on the stack once it returns: nothing may end before.
            with self._outermost(), self.operators.set_aside():
                method(tensor, *args, **kwargs)

        torch.autograd.backward = watched
        tensors.backward = watched_method
        try:
            yield
        finally:
            torch.autograd.backward = run
            tensors.backward = method
            self.losses.clear()
            self.node_readings.clear()
            self._places.clear()

    @contextmanager
    def _outermost(self) -> Iterator[None]:
        """Tell of the end of a backward pass once, when nothing of it runs any more; not after an exception."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
        if not self._depth and not self.watch.in_backward:
            self.watch.settle()
            for listener in self.on_end if self.watch.looking else ():
                listener()

    def _before(self, tensors: Any) -> None:
        roots = [tensors] if isinstance(tensors, torch.Tensor) else list(tensors)
        place = self.watch.place()
        with self.watch.own_work():
            for listener in self.on_backward:
                listener()
            self.gradients.before_backward()
            nodes: list[Any] = [t.grad_fn for t in roots if isinstance(t, torch.Tensor) and t.grad_fn is not None]
            reaches = count = reused = None
            if self.watch.step < 4:
                found = walk(nodes)
                count, reaches = len(found), any(_is_parameter(node) for node in found)
                self.on_graph(nodes)
                reached = [n.variable for n in found if _is_parameter(n)]
                self.contributions.begins(place, reached)
                self.clearing.chosen(reached)
                if self.hook_nodes:
                    reused = _passed_before(found)
                    self._hook(found)
            if nodes and len(nodes) == 1:
                if self.operators.mark_all:  # later nothing says where terms were made, and by what they are multiplied
                    self._compare_terms(nodes[0], place)
                token = self.watch.kept_token(place)
                for node in _begin_of(_unscaled(nodes[0])):
                    node.metadata[_TOKEN_KEY] = token
            self.watch.facts.backwards.append(Backward(
                step=self.watch.step, place=place, reaches_parameter=reaches, num_graph_nodes=count, num_reused=reused,
                faults=self._faults_at(nodes, place), is_mean=len(nodes) == 1 and is_mean(nodes[0]),
                cleared=self.clearing.is_gone(),
            ))  # fmt: skip
            if len(roots) == 1 and plain(roots[0]) and roots[0].numel() == 1:
                sums = [self._by_place(t) for t in self.input_tensors()]
                self.losses.append((len(self.watch.facts.backwards) - 1, roots[0].detach().clone(), sums))

    def _compare_terms(self, loss: Any, place: Place) -> None:
        batch, facts, step = self.operators.broadcasts.batch, self.watch.facts, self.watch.step
        if batch is None:
            return
        terms = list(terms_of(loss))

        def at(node: Any) -> Place | None:
            number = node.metadata.get(PLACE_KEY)
            return self.watch.place_of(number) if number is not None else None

        mixed, again = summed_beside_means(terms, batch), divided_again(terms, batch)
        if mixed is not None and (here := at(mixed[0].node)) is not None:
            mean = at(mixed[1].node) or place
            facts.mixed_terms.append(MixedTerms(step=step, place=here, mean=mean, batch=batch, shape=mixed[0].shape))
        weighed = weighed_after_the_mean(loss, batch)
        if weighed is not None and (here := at(weighed[0])) is not None:
            facts.weighed_means.append(WeighedMean(step=step, place=here, mean=at(weighed[1]) or here, batch=batch))
        if again is not None and (here := at(again[0])) is not None:
            facts.divided_means.append(DividedMean(step=step, place=here, mean=at(again[1].node) or here, batch=batch))

    def _by_place(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a sum that says where in a sample numbers are: all rows of zeros and a one have the same plain sum."""
        sample = (tensor.sum(0) if tensor.dim() > 1 else tensor).flatten().float()
        places = self._places.get((sample.numel(), sample.device))
        if places is None:
            places = torch.arange(1.0, sample.numel() + 1, device=sample.device)
            self._places = {(sample.numel(), sample.device): places}  # of the last size, which mostly is the next
        return sample @ places

    def _after(self) -> None:
        with self.watch.own_work():
            self.gradients.after_backward()
            self.contributions.ended()
            self.clearing.ended()

    def _hook(self, nodes: dict[Any, Any]) -> None:
        """Read what each node hands on, to find where a gradient stops being finite."""
        self.node_readings.clear()
        readings, watch = self.node_readings, self.watch

        for node, consumer in nodes.items():
            if type(node).__name__ == "AccumulateGrad":
                continue
            source = _source(node, nodes, consumer)

            # The hook belongs to the node: holding the node, or what leads to it, would keep the graph alive.
            def hook(made: Any, given: Any, name: str = type(node).__name__, source: int = source) -> None:
                watch.attempt("gradients within the graph", _read_node, readings, name, source, made)

            node.register_hook(hook)

    def _faults_at(self, nodes: list[Any], place: Place) -> tuple[tuple[ChainFault, Place], ...]:
        """Look at the first losses of a line, and at later ones that are made in another way."""
        seen = self._looked_at[place] = self._looked_at.get(place, 0) + 1
        known, outline = self._outlines.setdefault(place, set()), _outline(nodes)
        is_new = outline not in known and len(known) < _OUTLINES_AT_A_LINE
        if is_new:
            known.add(outline)
        return tuple(self._faults(nodes, place)) if is_new or seen <= _LOOKS_AT_A_LINE else ()

    def _faults(self, nodes: list[Any], place: Place) -> Iterator[tuple[ChainFault, Place]]:
        for node in loss_nodes(nodes):
            fault = _squashed_twice(node)
            if fault is not None:
                number = node.metadata.get(PLACE_KEY)
                yield fault, self.watch.place_of(number) if number is not None else place


def _squashed_twice(loss: Any) -> ChainFault | None:
    """Name what a loss does to its input that was done to it already."""
    kind, below = operation_of(loss), through_views(loss)
    made = "" if below is None else operation_of(below)
    if kind.startswith("NllLoss"):
        above = through_views(below) if made == "LogSoftmax" else None
        if above is not None and operation_of(above) in ("Softmax", "Sigmoid"):
            return "softmax-cross-entropy"
        return "nll-probabilities" if made in ("Softmax", "Sigmoid", "Exp") else None
    if kind == "BinaryCrossEntropyWithLogits" and made in ("Sigmoid", "Softmax"):
        return "sigmoid-bce-logits"
    return None


def _read_node(readings: list[tuple[Any, int, list[torch.Tensor]]], name: str, source: int, made: Any) -> None:
    found = [finite_reading(t) for t in made if plain(t) and t.is_floating_point()]
    if found:
        readings.append((name, source, found))


def is_mean(node: Any) -> bool:
    """Tell whether a loss is a mean as it stands: no sum, and not divided by anything afterwards."""
    return operation_of(node) == "Mean" or getattr(node, "_saved_reduction", None) == 1


def walk(roots: list[Any]) -> dict[Any, Any]:
    """Return every node below ``roots``, each with the node that needs it (None for a root)."""
    found: dict[Any, Any] = dict.fromkeys(roots)
    queue = list(roots)
    while queue and len(found) < _MAX_NODES:
        node = queue.pop()
        for below, _ in node.next_functions:
            if below is not None and below not in found:
                found[below] = node
                queue.append(below)
    return found


def _passed_before(nodes: dict[Any, Any]) -> int:
    """Count the nodes that an earlier backward pass went through, and remember that this one does through all."""
    found = 0
    for node in nodes:
        if type(node).__name__ != "AccumulateGrad":
            found += _PASS_KEY in node.metadata
            node.metadata[_PASS_KEY] = True
    return found


def _begin_of(node: Any) -> list[Any]:
    """Return a loss's node and the first below it: of a sum, terms may be kept, and the sum not."""
    found, nearest = [node], [node]
    for _ in range(_TERMS_DEEP):
        nearest = [one for above in nearest for one, _ in above.next_functions if one is not None]
        nearest = [one for one in nearest if not _is_parameter(one)][: _MAX_TERMS - len(found)]
        found += nearest
    return found


def _unscaled(node: Any) -> Any:
    """Return the node of a loss below what only scales it: that is the loss which a program may keep."""
    for _ in range(_MAX_ELEMENTWISE):
        below = [one for one, _ in node.next_functions if one is not None]
        if operation_of(node) not in ELEMENTWISE or len(below) != 1 or operation_of(below[0]) == "AccumulateGrad":
            break
        node = below[0]
    return node


def _outline(roots: list[Any]) -> tuple[type, ...]:
    """Return the kinds of a graph's first nodes, level by level: as much as a look at a loss goes through, mostly."""
    found = list(roots)
    for node in found:  # which grows
        if len(found) >= _OUTLINE_NODES:
            break
        found += [below for below, _ in node.next_functions if below is not None]
    return tuple(type(node) for node in found[:_OUTLINE_NODES])


def loss_nodes(roots: list[Any]) -> Iterator[Any]:
    """Yield the nodes of loss functions that a loss is the sum of."""
    seen, queue = set(roots), list(roots)
    while queue and len(seen) < 500:
        node = queue.pop()
        name = operation_of(node)
        if name.startswith(("NllLoss", "BinaryCrossEntropy", "KlDiv")):
            yield node
            continue
        if name in _SUMS or name in VIEWS:
            for below, _ in node.next_functions:
                if below is not None and below not in seen:
                    seen.add(below)
                    queue.append(below)


def through_views(node: Any) -> Any | None:
    """Return the node that computed what ``node`` works on, past those that only show it in another form."""
    for _ in range(20):
        node = next((below for below, _ in node.next_functions if below is not None), None)
        if node is None or operation_of(node) not in VIEWS:
            return node
    return None


def _is_parameter(node: Any) -> bool:
    return type(node).__name__ == "AccumulateGrad" and isinstance(node.variable, nn.Parameter)


def _source(node: Any, nodes: dict[Any, Any], consumer: Any) -> int:
    """Return the line of the operation that made a node, or of the one that its result went into."""
    while node is not None:
        number = node.metadata.get(PLACE_KEY)
        if number is not None:
            return int(number)
        node, consumer = consumer, nodes.get(consumer)
    return 0
