"""Facts about models that need several steps: who is not optimised, norms that drift, shared instances, inputs."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainworthy.check.finding import Place
from trainworthy.check.live.backward import walk
from trainworthy.check.live.facts_setup import OutOfSight
from trainworthy.check.live.facts_steps import Input, NormDrift, SharedModule, Unoptimised
from trainworthy.check.live.loaders import tensors_in
from trainworthy.check.live.modules import ModuleWatch
from trainworthy.check.live.names import unwrap
from trainworthy.check.live.operators import OperatorWatch
from trainworthy.check.live.optimizers import OptimizerWatch
from trainworthy.check.live.watch import Watch, plain
from trainworthy.tape.repeated import made_at, repeated_instances
from trainworthy.virtual.nested import with_tensors

_STEPS, _EVERY = 6, 8  # these are followed for so many steps, then after every eighth
_ELEMENTS = 256
_MAX_CALLS, _PROBED = 8, 3


@dataclass(slots=True)
class _Idle:
    ref: weakref.ref[torch.Tensor]
    sample: torch.Tensor
    steps: int = 0
    moved: bool = False


_State = tuple[bool, int, int, torch.Tensor]


class _Sample(NamedTuple):
    ref: weakref.ref[torch.Tensor]
    state: _State


@dataclass(slots=True)
class _Norm:
    """``began`` is what some parameters of a model that is frozen as a whole were: one that follows another changes."""

    ref: weakref.ref[_BatchNorm]
    version: int
    steps: int = 0
    began: list[_Sample] = field(default_factory=list)


@dataclass(slots=True)
class Call:
    """A call of a model in training, kept for the probes."""

    model: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    batch_size: int | None
    place: Place
    is_paired: bool = False
    began_s: float = field(default_factory=time.perf_counter)


class ModelWatch:
    """Follows models from call to call and from step to step; needs no seam of its own."""

    def __init__(
        self, watch: Watch, modules: ModuleWatch, operators: OperatorWatch, optimizers: OptimizerWatch
    ) -> None:
        self.watch = watch
        self.operators = operators
        self.optimizers = optimizers
        self.calls: dict[int, Call] = {}  # of the first step, by identity of the module
        self.input_tensors: list[torch.Tensor] = []
        self.loader_batch: Any = lambda: None
        self._idle: dict[int, _Idle] = {}
        self._norms: dict[int, _Norm] = {}
        self._began: list[weakref.ref[Any]] = []  # optimizers that stepped
        self._since = 0  # the step at which the last one was new
        self._searched: set[int] = set()
        self._inputs: dict[int, int] = {}
        self._lasting: tuple[list[Unoptimised], list[NormDrift]] = ([], [])
        modules.on_root.append(self._root)
        modules.on_root_exit.append(self._left)
        operators.on_convolution = self._convolution

    def take_calls(self) -> list[Call]:
        """Return, and forget, the first call of the first step, and of the other modules the largest two."""
        calls = [*self.calls.values()]
        self.calls.clear()
        sizes = [(sum(p.numel() for p in call.model.parameters()), call) for call in calls[1:]]
        largest = sorted((one for one in sizes if one[0]), key=lambda one: -one[0])
        return [*calls[:1], *(call for _, call in largest[: _PROBED - 1])]

    def look_at(self, model: nn.Module) -> None:
        """Look at how a model is built, before it runs."""
        if id(model) not in self._searched:
            self._searched.add(id(model))
            self._search(model)

    # --- calls ------------------------------------------------------------------------------------

    def _root(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        tensors = list(tensors_in([*args, *kwargs.values()]))
        self.look_at(module)
        size, broadcasts = next((t.shape[0] for t in tensors if t.dim()), None), self.operators.broadcasts
        broadcasts.batch = size if size is not None else broadcasts.batch
        if not torch.is_grad_enabled():
            self.operators.evaluated_inputs = tuple(t for t in tensors if t.dim() == 2)
            return
        self.operators.root_inputs.update((id(t), t) for t in tensors)
        self.input_tensors = [t for t in tensors if plain(t) and not t.requires_grad and t.numel()]
        if module.training and self.watch.step == 0 and id(module) not in self.calls and len(self.calls) < _MAX_CALLS:
            place = self.watch.facts.forwards[-1].place
            if self.calls:  # it shall not keep the graph of those before it
                args, kwargs = with_tensors((args, kwargs), torch.Tensor.detach)
            self.calls[id(module)] = Call(module, args, kwargs, self.loader_batch(), place)
        if self._inputs.get(id(module), 0) < 3 and tensors:
            self._inputs[id(module)] = self._inputs.get(id(module), 0) + 1
            self._describe(module, tensors[0], None)

    def _left(self, module: nn.Module, out: Any) -> None:
        """Learn the batch from what a model gave if it was given no tensor (arrays, dictionaries of them)."""
        broadcasts = self.operators.broadcasts
        if broadcasts.batch is None:
            broadcasts.batch = next((t.shape[0] for t in tensors_in([out]) if t.dim()), None)

    def _convolution(self, tensor: torch.Tensor, name: str) -> None:
        if self.watch.step < 4 and plain(tensor):
            self._describe(None, tensor, name)

    def _describe(self, module: nn.Module | None, tensor: torch.Tensor, into: str | None) -> None:
        if not plain(tensor) or not tensor.is_floating_point() or not tensor.numel():
            return
        with self.watch.own_work():
            low, high = (float(v) for v in torch.aminmax(tensor))
            alike = tensor.dim() >= 2 and tensor.shape[0] >= 2 and bool((tensor == tensor[:1]).all())
            parameter = next(iter(module.parameters()), None) if module is not None else None
            self.watch.facts.inputs.append(Input(
                step=self.watch.step, place=self.watch.facts.forwards[-1].place, shape=tuple(tensor.shape),
                dtype=str(tensor.dtype).removeprefix("torch."), minimum=low, maximum=high, into=into,
                integral=high > low and bool((tensor == tensor.round()).all()), samples_alike=alike and high != low,
                made_at=self.operators.made_at(tensor),
                parameter_dtype=str(parameter.dtype).removeprefix("torch.") if parameter is not None else None,
            ))  # fmt: skip

    def _search(self, model: nn.Module) -> None:
        """Look for a container that is filled with one instance, and for one whose modules nobody sees."""
        finder = self.watch.finder
        self._search_lists(model)
        for found in repeated_instances(model):
            at = made_at(found.parent, found.container, finder.is_user)
            self.watch.facts.shared.append(SharedModule(
                path=found.path, container=found.container, class_name=found.class_name, times=found.times,
                parameters=found.parameters,
                place=Place(finder.relative(at[0]), at[1]) if at else self._last_place(),
            ))  # fmt: skip

    def _search_lists(self, model: nn.Module) -> None:
        """Look for lists and dicts of modules that hold parameters to train and are no part of the model."""
        seen, finder = set(model.modules()), self.watch.finder
        for module in seen:
            for name, value in vars(module).items():
                held = list(value.values()) if isinstance(value, dict) else value
                if name.startswith("_") or not isinstance(held, (list, tuple)) or len(held) < 2:
                    continue
                if not all(isinstance(one, nn.Module) and one not in seen for one in held):
                    continue
                count = sum(p.numel() for one in held for p in one.parameters() if p.requires_grad)
                at = made_at(module, f"self.{name} ", finder.is_user)
                if at is not None and count:
                    self.watch.facts.out_of_sight.append(OutOfSight(
                        place=Place(finder.relative(at[0]), at[1]), class_name=type(module).__name__, attribute=name,
                        modules=len(held), parameters=count,
                    ))  # fmt: skip

    def _last_place(self) -> Place:
        facts = self.watch.facts
        return facts.forwards[-1].place if facts.forwards else facts.home

    # --- steps ------------------------------------------------------------------------------------

    def step_ends(self, place: Place) -> None:
        """Look at the parameters that got gradients and at the statistics of norms."""
        for ref in self.optimizers.stepped.values():
            if not any(ref is one for one in self._began):
                self._began.append(ref)
                self._since = self.watch.step
        if self.watch.step - self._since >= _STEPS and self.watch.step % _EVERY:
            return
        stepped = self.optimizers.stepped_parameters()
        for model in self.watch.names.alive():
            for parameter in model.parameters():
                if parameter.grad is not None and parameter.requires_grad and id(parameter) not in stepped:
                    self._follow(parameter)
            if self.watch.facts.forwards:
                self._follow_norms(model, stepped, whole=not any(p.requires_grad for p in model.parameters()))
        if self.watch.step >= 2:
            self._conclude()

    def note_unregistered(self, nodes: list[Any]) -> None:
        """Follow parameters that a loss reaches and that belong to no model."""
        for node in walk(nodes):
            variable = getattr(node, "variable", None)
            if isinstance(variable, nn.Parameter) and not self.watch.names.is_registered(variable):
                self._idle.setdefault(id(variable), _new_idle(variable))

    def _follow(self, parameter: torch.Tensor) -> None:
        if not plain(parameter) or not parameter.is_contiguous():
            return
        known = self._idle.get(id(parameter))
        if known is None or known.ref() is not parameter:
            known = self._idle[id(parameter)] = _new_idle(parameter)
        elif not known.moved:
            known.moved = not torch.equal(known.sample, parameter.detach().view(-1)[:_ELEMENTS])
        known.steps += 1

    def _follow_norms(self, model: nn.Module, stepped: set[int], whole: bool) -> None:
        for module in model.modules():
            if not isinstance(module, _BatchNorm) or module.num_batches_tracked is None or module.weight is None:
                continue
            if module.weight.requires_grad or (module.bias is not None and module.bias.requires_grad):
                continue
            if whole and (id(module.weight) in stepped or not plain(module.weight)):
                continue
            version = module.num_batches_tracked._version
            known = self._norms.get(id(module))
            if known is None or known.ref() is not module:
                some = [*module.parameters(), next(model.parameters())] if whole else []
                began = [_Sample(weakref.ref(p), _state_of(p)) for p in some if plain(p)]
                self._norms[id(module)] = _Norm(weakref.ref(module), version, began=began)
            elif version != known.version:
                known.version = version
                known.steps += 1

    # --- the end ----------------------------------------------------------------------------------

    def finish(self) -> None:
        """Write down what lasted for several steps; of models that are gone by now, what was so after the last step."""
        if self.watch.facts.steps and any(True for _ in self.watch.names.alive()):
            self._conclude()
        self.watch.facts.unoptimised.extend(self._lasting[0])
        self.watch.facts.norm_drifts.extend(self._lasting[1])

    def _conclude(self) -> None:
        place, stepped = self.watch.facts.steps[-1].place, self.optimizers.stepped_parameters()
        self._lasting = (
            [*self._unoptimised(place, stepped), *self._unregistered(place, stepped)], list(self._drifts(place)),
        )  # fmt: skip

    def _unoptimised(self, place: Place, stepped: set[int]) -> Iterator[Unoptimised]:
        names = self.watch.names
        alive = list(names.alive())
        for model in alive:
            if any(model is not other and model in set(other.modules()) for other in alive):
                continue
            parameters = list(unwrap(model).parameters())
            idle = [p for p in parameters if id(p) not in stepped and self._is_idle(p)]
            if idle:
                yield Unoptimised(
                    names=tuple(names.parameter(p) for p in idle), model=type(unwrap(model)).__name__,
                    steps=min(self._idle[id(p)].steps for p in idle), place=place,
                    others_optimised=any(id(p) in stepped for p in parameters),
                    made_at=self._holder_made_at({id(p) for p in parameters}),
                )  # fmt: skip

    def _holder_made_at(self, own: set[int]) -> Place | None:
        """Return where the optimizer was made that holds one of some parameters, by their identities."""
        for ref in self.optimizers.stepped.values():
            optimizer = ref()
            if optimizer is not None and any(id(p) in own for group in optimizer.param_groups for p in group["params"]):
                return self.watch.made_at(optimizer)
        return None

    def _drifts(self, place: Place) -> Iterator[NormDrift]:
        drifted = [n for n in self._norms.values() if n.steps >= 2 and _is_as_it_was(n)]
        if drifted:
            calls = [f.place for f in self.watch.facts.forwards if f.grad and f.training]
            yield NormDrift(
                names=tuple(self.watch.names.module(m) for n in drifted if (m := n.ref()) is not None),
                model="", steps=min(n.steps for n in drifted), place=calls[-1] if calls else place,
                mode_set_at=next((at[0] for n in drifted if (at := self.watch.mode_set_at(n.ref())) is not None), None),
            )  # fmt: skip

    def _unregistered(self, place: Place, stepped: set[int]) -> Iterator[Unoptimised]:
        found = []
        for idle in self._idle.values():
            parameter = idle.ref()
            if parameter is None or id(parameter) in stepped or self.watch.names.is_registered(parameter):
                continue
            if parameter.grad is not None and torch.equal(idle.sample, parameter.detach().reshape(-1)[:_ELEMENTS]):
                found.append(parameter)
        if found and len(self.watch.facts.steps) >= 3:
            yield Unoptimised(
                names=tuple(str(tuple(p.shape)) for p in found), model="", steps=3, place=place,
                others_optimised=True, registered=False,
            )  # fmt: skip

    def _is_idle(self, parameter: torch.Tensor) -> bool:
        known = self._idle.get(id(parameter))
        return known is not None and known.ref() is parameter and known.steps >= 3 and not known.moved


def _is_as_it_was(norm: _Norm) -> bool:
    """Say whether a norm is alive and, if all of its model is frozen, no average of another model, nor trained."""
    alive = norm.ref() is not None
    return alive and all((p := one.ref()) is not None and _alike(_state_of(p), one.state) for one in norm.began)


def _state_of(parameter: torch.Tensor) -> _State:
    sample = parameter.detach().reshape(-1)[:_ELEMENTS].clone()
    return parameter.requires_grad, parameter._version, parameter.data_ptr(), sample


def _alike(one: _State, other: _State) -> bool:
    return one[:3] == other[:3] and torch.equal(one[3], other[3])


def _new_idle(parameter: torch.Tensor) -> _Idle:
    return _Idle(weakref.ref(parameter), parameter.detach().reshape(-1)[:_ELEMENTS].clone())
