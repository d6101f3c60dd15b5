"""What the guard hangs into a training, and how all of it is taken out again.

Nothing here changes a number: parts of the machine only read tensors (detached, on their own device), draw no random
numbers and never touch the user's loader. Readings stay on the device until a step ends; one copy brings them home.

=====================  ============================================================================
``ModuleWatch``        ``nn.Module.__call__``: which module runs, what models are given
``OperatorWatch``      a ``TorchFunctionMode``: calls of torch functions in the forward pass
``BackwardWatch``      ``torch.autograd.backward``: the graph, gradients before and after
``OptimizerWatch``     torch's own hooks before and after ``optimizer.step()``
``ClipWatch``          gradient clipping, and ``GradScaler``
``LoaderWatch``        what DataLoaders give
``LoadWatch``          ``load_state_dict``
=====================  ============================================================================

Compiled code is left alone: once ``torch.compile`` is used, the first two are taken out.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from trainworthy.check.finding import Place
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.facts_setup import LeftOut
from trainworthy.check.live.names import Names
from trainworthy.errors import TrainworthyError
from trainworthy.tape.source import SourceFinder

Result = TypeVar("Result")


class Part(Protocol):
    """Something that watches one seam of torch."""

    compiled_code_sees_it: bool

    def installed(self) -> Any:
        """Return a context in which the part watches."""


class Token:
    """Lies in the metadata of a loss's graph and dies with it."""

    __slots__ = ("__weakref__",)


class _Busy:
    """These contexts are entered for every operation: as classes they cost a fifth of what generators do."""

    __slots__ = ("watch",)

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def __enter__(self) -> None:
        self.watch.busy += 1

    def __exit__(self, *raised: object) -> None:
        self.watch.busy -= 1


class _OwnWork(_Busy):
    __slots__ = ("functions", "grad")

    def __enter__(self) -> None:
        self.watch.busy += 1
        self.functions: Any = torch._C.DisableTorchFunction()
        self.functions.__enter__()
        self.grad: bool = torch.is_grad_enabled()
        torch._C._set_grad_enabled(False)

    def __exit__(self, *raised: object) -> None:
        torch._C._set_grad_enabled(self.grad)
        self.functions.__exit__(*raised)
        self.watch.busy -= 1


class Watch:
    """What the parts share: the facts, where the training is, and whether anybody looks."""

    def __init__(self, finder: SourceFinder, home: Place) -> None:
        self.facts = LiveFacts(home=home)
        self.finder = finder
        self.names = Names()
        self.step = 0
        self.looking = False
        self.busy = 0  # within the guard's own tensor operations
        self.in_backward = 0
        self.in_optimizer = 0
        self.failed = False  # a look that others rely on failed: nothing may be concluded
        self.on_failure: Callable[[], None] = lambda: None
        # Of modules, optimizers and parameters, once an ``OriginWatch`` or a ``FillWatch`` knows.
        self.made_at: Callable[[Any], Place | None] = lambda thing: None
        self.cast_at: Callable[[Any], Place | None] = lambda module: None
        self.filled_at: Callable[[torch.Tensor], Place | None] = lambda parameter: None
        self.mode_set_at: Callable[[Any], tuple[Place, bool] | None] = lambda module: None
        self.cleared_at: Callable[[], Place | None] = lambda: None
        self._left: set[str] = set()
        self._tokens: list[tuple[int, Place, weakref.ref[Token]]] = []
        self._places: dict[int, Place] = {}
        self._parts: dict[Part, ExitStack] = {}

    # --- places -----------------------------------------------------------------------------------

    def place(self) -> Place:
        """Return the user's innermost line that led here; the guard's own line if there is none."""
        number, _ = self.finder.find(sys._getframe(1))
        return self.place_of(number)

    def place_of(self, number: int) -> Place:
        """Return the place of a source number of the finder."""
        place = self._places.get(number)
        if place is None:
            source = self.finder.sources[number]
            place = Place(source.path, source.line) if source.path else self.facts.home
            self._places[number] = place
        return place

    def defined_at(self, function: Any) -> Place | None:
        """Return where a function of the user's code begins; None for others."""
        code = getattr(function, "__code__", None)
        if code is None or not self.finder.is_user(code):
            return None
        return Place(self.finder.relative(code.co_filename), code.co_firstlineno)

    def own_work(self) -> AbstractContextManager[None]:
        """Let the parts overlook what the guard itself computes."""
        return _OwnWork(self)

    def own_work_flag(self) -> AbstractContextManager[None]:
        """Let the parts overlook calls of modules and functions that the guard makes; grad mode stays."""
        return _Busy(self)

    # --- looks that fail ----------------------------------------------------------------------------

    def attempt(self, look: str, do: Callable[..., Result], *args: Any) -> Result | None:
        """Do a look; one that fails is left out from then on, and listed, and the training goes on.

        Errors that are meant for the user pass.
        """
        if look in self._left:
            return None
        try:
            return do(*args)
        except TrainworthyError:
            raise
        except Exception as error:
            self._leave_out(look, error)
            return None

    def rely_on(self, look: str, do: Callable[..., object], *args: Any) -> None:
        """Do a look that others build on; if it fails the guard looks no more and concludes nothing."""
        try:
            do(*args)
        except TrainworthyError:
            raise
        except Exception as error:
            self._leave_out(look, error)
            self.failed = True
            self.looking = False

    def settle(self) -> None:
        """Take the guard out if it failed; called where the stack of modes is as the user left it."""
        if self.failed:
            self.on_failure()

    def _leave_out(self, look: str, error: Exception) -> None:
        self._left.add(look)
        self.facts.left_out.append(LeftOut.of(look, error))

    def kept_token(self, place: Place) -> Token:
        """Return a token that lives as long as the graph of a loss does."""
        token = Token()
        self._tokens.append((self.step, place, weakref.ref(token)))
        return token

    def kept_graphs(self, steps: int) -> tuple[int, Place | None]:
        """Count the graphs of losses that are alive ``steps`` steps later, and say where the last began."""
        self._tokens = [t for t in self._tokens if t[2]() is not None]
        old = [t for t in self._tokens if t[0] <= self.step - steps]
        return len(old), (old[-1][1] if old else None)

    # --- life -------------------------------------------------------------------------------------

    def install(self, parts: list[Part]) -> None:
        """Begin to look."""
        self.looking = not self.failed
        compiled = compile_was_used()
        for part in parts:
            if part.compiled_code_sees_it and compiled:
                continue
            stack = self._parts[part] = ExitStack()
            stack.enter_context(part.installed())
        if not compiled:
            self._parts[_CompileSeam(self)] = stack = ExitStack()
            stack.enter_context(_compile_noticed(self))

    def leave_compiled_code_alone(self) -> None:
        """Take out what compiled code would have to trace."""
        for part in [p for p in self._parts if p.compiled_code_sees_it]:
            self._parts.pop(part).close()

    def remove(self) -> None:
        """Take everything out again, last come first."""
        self.looking = False
        while self._parts:
            self._parts.popitem()[1].close()


class _CompileSeam:
    compiled_code_sees_it = True

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def installed(self) -> Any:
        return _compile_noticed(self.watch)


@contextmanager
def _compile_noticed(watch: Watch) -> Iterator[None]:
    whole, module = torch.compile, nn.Module.compile

    def compile_(*args: Any, **kwargs: Any) -> Any:
        watch.leave_compiled_code_alone()
        return whole(*args, **kwargs)

    def compile_module(*args: Any, **kwargs: Any) -> Any:
        watch.leave_compiled_code_alone()
        return module(*args, **kwargs)

    torch.compile = compile_
    nn.Module.compile = compile_module  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.compile = whole
        nn.Module.compile = module  # type: ignore[method-assign]


def compile_was_used() -> bool:
    """Tell whether ``torch.compile`` was called in this process."""
    frames = sys.modules.get("torch._dynamo.eval_frame")
    backends = getattr(frames, "cached_backends", None) or {}
    return any(backend is not None for backend in backends.values())  # None stands for code that must not be compiled


def plain(tensor: Any) -> bool:
    """Tell whether a value is a tensor that the guard may read: strided, no subclass, with data."""
    return (
        isinstance(tensor, torch.Tensor)
        and type(tensor) in _PLAIN
        and tensor.layout is torch.strided
        and tensor.device.type != "meta"
    )


_PLAIN = (torch.Tensor, nn.Parameter)
_HALF = (torch.float16, torch.bfloat16)


def read(values: list[torch.Tensor]) -> list[float]:
    """Bring scalars home, with one copy for each device and dtype."""
    groups: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for index, value in enumerate(values):
        groups.setdefault((value.device, value.dtype), []).append(index)
    out = [0.0] * len(values)
    for indices in groups.values():
        scalars = [value if value.dim() == 0 else value.reshape(()) for value in map(values.__getitem__, indices)]
        numbers = torch.stack(scalars).tolist()
        for index, number in zip(indices, numbers, strict=True):
            out[index] = float(number)
    return out


def operation_of(node: Any) -> str:
    """Name the operation that a node of the graph is the backward of.

    >>> class LogSoftmaxBackward0: ...
    >>> operation_of(LogSoftmaxBackward0())
    'LogSoftmax'
    """
    return type(node).__name__.rstrip("0123456789").removesuffix("Backward")


def finite_reading(tensor: torch.Tensor) -> torch.Tensor:
    """Return a scalar that is finite if all of ``tensor`` is; sums are quick, and NaN and infinities survive them."""
    if torch.is_grad_enabled():  # a backward pass with create_graph
        tensor = tensor.detach()
    return tensor.sum(dtype=torch.float32) if tensor.dtype in _HALF else tensor.sum()
