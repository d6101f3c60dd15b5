"""Calls of torch functions in the forward pass, as the user's code makes them."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode

from trainworthy.check.finding import Place
from trainworthy.check.live.arguments import ArgumentWatch
from trainworthy.check.live.broadcasting import BroadcastWatch
from trainworthy.check.live.facts_seldom import AddedMask, Draw, Upscaled
from trainworthy.check.live.facts_steps import Dropout
from trainworthy.check.live.modes import is_innermost, remove_mode
from trainworthy.check.live.modules import ModuleWatch
from trainworthy.check.live.scattered import ScatterWatch
from trainworthy.check.live.truncation import WRITERS, TruncationWatch
from trainworthy.check.live.watch import Watch, finite_reading, plain

PLACE_KEY = "trainworthy.place"  # in the metadata of a node of the graph: the number of its source line
FACTOR_KEY = "trainworthy.factor"  # and by what number it multiplies; what a node saves itself may be packed away
_TIMES = frozenset("mul multiply mul_ multiply_ __mul__ __rmul__ __imul__".split())
_OVER = frozenset("div true_divide divide div_ true_divide_ divide_ __truediv__ __itruediv__ __div__ __idiv__".split())
_MAX_RECORDS = 50_000
_MAX_DRAWS, _DRAW_STEPS = 100, 8

(
    _SKIP, _OTHER, _ELEMENTWISE, _COMPARE, _LOSS, _DROPOUT, _ATTENTION, _CONV, _SQUASH, _MASK, _DRAW, _RESIZE, _SAME,
    _HEADS, _WRITE, _TAKE,
) = range(16)  # fmt: skip
_NAMES = {
    _ELEMENTWISE: "add sub mul div true_divide rsub subtract multiply divide __add__ __sub__ __mul__ __truediv__ "
    "__radd__ __rsub__ __rmul__ __rtruediv__",
    _COMPARE: "eq __eq__",
    _LOSS: "cross_entropy nll_loss binary_cross_entropy binary_cross_entropy_with_logits mse_loss l1_loss "
    "smooth_l1_loss huber_loss kl_div poisson_nll_loss gaussian_nll_loss soft_margin_loss hinge_embedding_loss "
    "margin_ranking_loss multilabel_margin_loss multilabel_soft_margin_loss multi_margin_loss",
    _DROPOUT: "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout",
    _ATTENTION: "scaled_dot_product_attention",
    _HEADS: "multi_head_attention_forward",
    _CONV: "conv1d conv2d conv3d",
    _SQUASH: "softmax sigmoid log_softmax",
    _MASK: "masked_fill masked_fill_ where full full_like triu tril fill_ new_full tensor as_tensor",
    _DRAW: "multinomial",
    _TAKE: "__getitem__",
    _WRITE: "__setitem__ scatter scatter_ index_fill index_fill_ copy_",
    _RESIZE: "interpolate upsample",
    # What comes out is finite if what goes in is: a view, a copy, a part, or nothing but what was above 0.
    _SAME: "view view_as reshape reshape_as flatten unflatten transpose permute swapaxes swapdims movedim squeeze "
    "unsqueeze expand expand_as chunk split tensor_split unbind narrow select t contiguous clone "
    "relu relu_ relu6 max_pool1d max_pool2d max_pool3d",
    _SKIP: "size dim numel item tolist cpu cuda numpy detach backward requires_grad_ __len__ __repr__ __format__ "
    "register_hook retain_grad zero_ is_contiguous is_floating_point data_ptr element_size storage_offset stride "
    "__bool__ __int__ __float__ __index__ __get__ __set__ __delete__ type device untyped_storage nelement "
    "share_memory_ __hash__ __contains__ __setstate__ __reduce_ex__ __deepcopy__ register_post_accumulate_grad_hook "
    # These hold whatever was in memory before, also numbers that are not finite.
    "empty empty_like empty_strided empty_permuted new_empty new_empty_strided resize_",
}  # fmt: skip
_KINDS = {name: kind for kind, names in _NAMES.items() for name in names.split()}
# Losses that broadcast without an error; the others refuse shapes that differ.
_BROADCASTING = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div", "poisson_nll_loss",
                           "soft_margin_loss", "hinge_embedding_loss", "margin_ranking_loss"})  # fmt: skip

LossListener = Callable[[str, tuple[Any, ...], dict[str, Any], Any, int], None]
MaskListener = Callable[[str, tuple[Any, ...], dict[str, Any], Iterable[Any], int], None]
ResultListener = Callable[[str, tuple[Any, ...], torch.Tensor, int, Any], None]


@dataclass(slots=True)
class Record:
    """One call whose result may be not finite; ``inputs`` number earlier records."""

    op: str
    module: nn.Module | None
    source: int
    reading: torch.Tensor
    inputs: tuple[int, ...]
    is_mask: bool = False
    is_given: bool = False


def _mark_factor(node: Any, name: str, args: tuple[Any, ...]) -> None:
    """Note the Python number that a tensor is multiplied with or divided by."""
    if name not in _TIMES and name not in _OVER:
        return
    number = next((one for one in args if isinstance(one, (int, float))), None)
    if number and name in _TIMES:
        node.metadata[FACTOR_KEY] = abs(float(number))
    elif number and isinstance(args[0], torch.Tensor):
        node.metadata[FACTOR_KEY] = 1 / abs(float(number))


class OperatorWatch(TorchFunctionMode):
    """Sees functions called by the user's code and by ``torch.nn`` layers; not what these call in turn."""

    compiled_code_sees_it = True

    def __init__(self, watch: Watch, modules: ModuleWatch) -> None:
        super().__init__()
        self.watch = watch
        self.modules = modules
        self.records: list[Record] = []
        self.broadcasts = BroadcastWatch(watch)
        self.arguments = ArgumentWatch(watch)
        self.truncations = TruncationWatch(watch)
        self.scattered = ScatterWatch(watch)
        self.root_inputs: dict[int, torch.Tensor] = {}
        self.evaluated_inputs: tuple[torch.Tensor, ...] = ()  # of the last call without gradients
        self.mark_all = True
        self.on_loss: list[LossListener] = []
        self.on_evaluated_loss: LossListener = lambda name, args, kwargs, out, source: None
        self.on_result: ResultListener = lambda name, args, out, source, module: None
        self.on_single: Callable[[str, tuple[Any, ...], int], object] = lambda name, args, source: None
        self.on_mask: MaskListener = lambda name, args, kwargs, given, source: None
        self.on_convolution: Callable[[torch.Tensor, str], None] = lambda tensor, name: None
        self._record_of: dict[int, int] = {}
        self._kinds: dict[Any, int] = {}
        self._is_on = False

    @contextmanager
    def installed(self) -> Iterator[None]:
        """See calls while the context is open."""
        self.__enter__()  # type: ignore[no-untyped-call]
        self._is_on = True
        try:
            yield
        finally:
            self._is_on = False
            remove_mode(self)
            self.forget()

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Be out of the way while the engine or an optimizer runs."""
        ours = self._is_on and is_innermost(self)
        if ours:
            self.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            if ours and self._is_on:
                self.__enter__()  # type: ignore[no-untyped-call]

    def forget(self) -> None:
        """Let go of what belongs to a step that is over."""
        self.records.clear()
        self._record_of.clear()
        self.root_inputs, self.evaluated_inputs = {}, ()
        self.broadcasts.forget()

    # --- calls ------------------------------------------------------------------------------------

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        kind = self._kinds.get(func)
        if kind is None:
            kind = self._classify(func)
        watch = self.watch
        if kind == _SKIP or watch.busy or not watch.looking or watch.in_backward:
            return out
        if self.arguments.is_on:
            with watch.own_work():
                watch.attempt("arguments", self.arguments.called, func, args, sys._getframe(1))
        if kind in (_WRITE, _MASK):
            self._write(func.__name__, args, kwargs)
            kind = _OTHER if kind == _WRITE else kind
        elif kind == _TAKE:
            kind = _SAME
            watch.attempt("repeated indices", self.scattered.taken, args, out)
        elif self.scattered.waits:
            self.scattered.added(func.__name__, args, out)
        if not torch.is_grad_enabled():
            if kind in (_DROPOUT, _ATTENTION, _COMPARE, _DRAW, _LOSS):
                with watch.own_work():
                    watch.rely_on("operations", self._without_grad, kind, func.__name__, args, kwargs, out)
            return out
        if isinstance(out, torch.Tensor):
            if kind in (_OTHER, _SAME) and not out.is_floating_point():
                return out
            source = self.modules.source(sys._getframe(1))
            with watch.own_work():
                watch.rely_on("operations", self._see, kind, func.__name__, args, kwargs, out, source)
        elif kind == _HEADS:
            source = self.modules.source(sys._getframe(1))
            with watch.own_work():
                watch.attempt("masks", self._mask, kwargs.get("attn_mask"), source)
                watch.attempt("masks", self._see_mask, func.__name__, args, kwargs, source)
        elif kind == _SAME and isinstance(out, (tuple, list)):
            source = self.modules.source(sys._getframe(1))
            with watch.own_work():
                watch.rely_on("operations", self._parts, args, out, source)
        return out

    def made_at(self, tensor: torch.Tensor) -> Place | None:
        """Return the line of the step that computed a tensor; None for what came from elsewhere."""
        number = self._record_of.get(id(tensor))
        record = self.records[number] if number is not None else None
        return self.watch.place_of(record.source) if record is not None and not record.is_given else None

    def has_called(self, name: str) -> bool:
        """Say whether a function of that name was called."""
        return any(getattr(func, "__name__", "") == name for func in self._kinds)

    def _classify(self, func: Any) -> int:
        kind = self._kinds[func] = _KINDS.get(getattr(func, "__name__", ""), _OTHER)
        return kind

    def _write(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.scattered.waits and name == "__setitem__":
            with self.watch.own_work():
                self.watch.attempt("repeated indices", self.scattered.stored, args, sys._getframe(2))
        if name in WRITERS and args and isinstance(args[0], torch.Tensor) and not args[0].is_floating_point():
            source = self.modules.source(sys._getframe(2))
            with self.watch.own_work():
                self.watch.attempt("fractions", self.truncations.written, name, args, kwargs, source)

    def _without_grad(self, kind: int, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        if kind in (_COMPARE, _LOSS):
            self.modules.judged()
        if kind == _COMPARE:
            self.broadcasts.see(name, args, out, self.modules.source(sys._getframe(1)), is_compare=True)
        elif kind == _DRAW:
            self._draw(args, kwargs, self.modules.source(sys._getframe(1)))
        elif kind == _LOSS:
            self.on_evaluated_loss(name, args, kwargs, out, self.modules.source(sys._getframe(1)))
        else:
            self._dropout(kind, name, args, kwargs, self.modules.source(sys._getframe(1)))

    def _see(  # noqa: PLR0917 - called for every operation: keywords cost
        self, kind: int, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: torch.Tensor, source: int
    ) -> None:
        self._note_facts(kind, name, args, kwargs, out, source)
        node: Any = out.grad_fn
        if node is not None and (self.mark_all or kind in (_LOSS, _SQUASH)):
            node.metadata[PLACE_KEY] = source
            _mark_factor(node, name, args)
        if kind in (_OTHER, _CONV, _SAME, _DROPOUT):
            self.on_result(name, args, out, source, self.modules.stack[-1] if self.modules.stack else None)
        if out.is_floating_point() and plain(out) and len(self.records) < _MAX_RECORDS:
            if kind == _SAME and self._is_known(args, (out,), source):
                return
            if name == "batch_norm" and kwargs.get("training"):
                args = args[:1]  # the running statistics are written, and not read
            self._note(name, args, out, source, is_mask=kind == _MASK)

    def _note_facts(  # noqa: PLR0917
        self, kind: int, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: torch.Tensor, source: int
    ) -> None:
        if kind in (_OTHER, _SAME):
            return
        if kind in (_ELEMENTWISE, _COMPARE):
            self.broadcasts.see(name, args, out, source, is_compare=kind == _COMPARE)
        elif kind == _LOSS:
            if name in _BROADCASTING:
                self.broadcasts.see(name, args or tuple(kwargs.values()), out, source, is_loss=True)
            for listener in self.on_loss:
                listener(name, args, kwargs, out, source)
        elif kind in (_DROPOUT, _ATTENTION):
            self._dropout(kind, name, args, kwargs, source)
        elif kind == _DRAW:
            self._draw(args, kwargs, source)
        elif kind == _RESIZE and args and not any(True for m in self.modules.stack[:1] for _ in m.parameters()):
            self.note_resize(args[0], out, source)
        elif kind == _CONV and args and self._is_data(args[0]):
            self.on_convolution(args[0], name)
        if self.broadcasts.batch == 1 and kind in (_ELEMENTWISE, _LOSS):
            self.on_single(name, args, source)
        if kind == _ATTENTION or name == "softmax":
            self.watch.attempt("masks", self._see_mask, name, args, kwargs, source)

    def _see_mask(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], source: int) -> None:
        self.on_mask(name, args, kwargs, self.root_inputs.values(), source)

    def _is_data(self, tensor: torch.Tensor) -> bool:
        """Say whether a tensor is what a model was given, or is made of that alone and has samples of its shape."""
        given = self.root_inputs
        if id(tensor) in given or tensor.requires_grad:
            return id(tensor) in given
        sample = tensor.shape[1:]
        return any(tensor.numel() == one.numel() and one.shape[-len(sample) :] == sample for one in given.values())

    def _parts(self, args: tuple[Any, ...], out: tuple[Any, ...] | list[Any], source: int) -> None:
        if len(self.records) < _MAX_RECORDS:
            self._is_known(args, out, source)

    def _is_known(self, args: tuple[Any, ...], results: tuple[Any, ...] | list[Any], source: int) -> bool:
        """Let results that are finite if the argument is share the argument's record; tell whether that could be."""
        known = self._known(args[0], source) if args and isinstance(args[0], torch.Tensor) else None
        if known is None:
            return False
        for each in results:
            self._record_of[id(each)] = known
        return True

    def _known(self, value: torch.Tensor, source: int, out: torch.Tensor | None = None) -> int | None:
        """Return the record of an argument; what no operation made is given, and read now. None for parameters."""
        if isinstance(value, nn.Parameter):
            return None
        known = self._record_of.get(id(value))
        if known is None and value.is_floating_point() and plain(value) and value is not out:
            known = self._add(value, Record("", None, source, finite_reading(value), (), is_given=True))
        return known

    def _note(self, name: str, args: tuple[Any, ...], out: torch.Tensor, source: int, *, is_mask: bool) -> None:
        if name in ("to", "cuda", "float") and out is args[0]:
            return  # it was there, or of that type, already
        inputs = []
        for value in args:
            if isinstance(value, torch.Tensor):
                known = self._known(value, source, out)
                if known is not None:
                    inputs.append(known)
        module = self.modules.stack[-1] if self.modules.stack else None
        self._add(out, Record(name, module, source, finite_reading(out), tuple(inputs), is_mask=is_mask))

    def _add(self, tensor: torch.Tensor, record: Record) -> int:
        self._record_of[id(tensor)] = len(self.records)
        self.records.append(record)
        return len(self.records) - 1

    # --- facts ------------------------------------------------------------------------------------

    def note_resize(self, before: Any, after: torch.Tensor, source: int) -> None:
        """Note data that are made much larger."""
        facts = self.watch.facts
        if not plain(before) or before.dim() != 4 or before.requires_grad or len(facts.upscaled) >= _MAX_DRAWS:
            return
        if all(n > 4 * m for m, n in zip(before.shape[2:], after.shape[2:], strict=False)):
            facts.upscaled.append(Upscaled(
                step=self.watch.step, place=self.watch.place_of(source), before=tuple(before.shape),
                after=tuple(after.shape),
            ))  # fmt: skip

    def _draw(self, args: tuple[Any, ...], kwargs: dict[str, Any], source: int) -> None:
        weights = args[0] if args else kwargs.get("input")
        wanted = kwargs.get("num_samples", args[1] if len(args) > 1 else None)
        if kwargs.get("replacement", args[2] if len(args) > 2 else False) or not plain(weights) or wanted is None:
            return
        if (
            self.watch.step < _DRAW_STEPS
            and len(self.watch.facts.draws) < _MAX_DRAWS
            and isinstance(weights, torch.Tensor)
            and weights.dim() in (1, 2)
        ):
            available = int((weights != 0).sum(-1).min())
            if available < int(wanted):
                self.watch.facts.draws.append(Draw(
                    step=self.watch.step, place=self.watch.place_of(source), wanted=int(wanted), available=available,
                ))  # fmt: skip

    def _mask(self, mask: Any, source: int) -> None:
        """Note a mask that is added to the scores, as numbers are, and was made to be multiplied with them."""
        masks, step = self.watch.facts.added_masks, self.watch.step
        if not plain(mask) or not mask.is_floating_point() or max(len(masks), step) >= _DRAW_STEPS:
            return
        ones = (mask == 1).float().mean()
        if bool(((mask == 0) | (mask == 1)).all()) and 0 < float(ones) < 1:
            masks.append(AddedMask(
                step=step, place=self.watch.place_of(source), shape=tuple(mask.shape), ones=float(ones),
            ))  # fmt: skip

    def _dropout(self, kind: int, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], source: int) -> None:
        stack = self.modules.stack
        if not stack or stack[0].training:
            return
        is_stray = stack[-1].training and all(m is not stack[-1] for m in stack[0].modules())
        if (stack[-1].training or isinstance(stack[-1], _DropoutNd)) and not is_stray:
            return
        if kind == _ATTENTION:
            p = kwargs.get("dropout_p", args[4] if len(args) > 4 else 0.0)
        elif is_stray:
            p = kwargs.get("p", args[1] if len(args) > 1 else 0.5)
            p = p if kwargs.get("training", args[2] if len(args) > 2 else True) else 0.0
        elif len(args) > 2 or not kwargs.get("training") or self._says_training(source):
            return
        else:
            p = kwargs.get("p", args[1] if len(args) > 1 else 0.5)
        if isinstance(p, (int, float)) and p > 0:
            self.watch.facts.dropouts.append(Dropout(
                step=self.watch.step, place=self.watch.place_of(source), op=name, p=float(p),
                module=self.watch.names.module(stack[-1]), is_stray=is_stray,
            ))  # fmt: skip

    def _says_training(self, source: int) -> bool:
        """Tell whether a call says training=...: then it is so on purpose. torch hands the default over as if given."""
        place = self.watch.finder.sources[source]
        path = str(self.watch.finder.base / place.path)
        lines = [linecache.getline(path, place.line + i) for i in range(3)]
        return not lines[0] or any("training" in line or "train" in line for line in lines)
