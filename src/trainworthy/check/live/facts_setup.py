"""Facts about how a training is set up and what surrounds its steps, as plain data; no torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainworthy.check.finding import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Reinitialised:
    """Parameters that one ``Module.apply`` filled with random numbers again and again, for modules above their own.

    ``modules`` are the classes of the modules, other than the owner, during whose turn a parameter was filled.
    """

    place: Place
    names: tuple[str, ...]
    modules: tuple[str, ...]
    times: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LostFill:
    """A line of which no number was left, because another filled all its parameters again, and more.

    ``at`` is that line, ``count`` the number of its parameters; ``what`` it filled them with, and ``by`` what took its
    place. ``place`` is the ``Module.apply`` that did it, or the line.
    """

    place: Place
    at: Place
    count: int
    what: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadySpectralNorm:
    """Spectral norms that were used in evaluation before they had estimated the norm even once.

    ``alignment`` is the cosine between the estimate of the singular vector and what one more step makes of it.
    """

    place: Place
    names: tuple[str, ...]
    alignment: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LongGeneration:
    """A call of ``generate`` during which the model ran more often than new tokens were asked for."""

    place: Place
    model: str
    asked: int
    made: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnappliedFreeze:
    """Parameters that ``model.train()`` would freeze, and that train: it was not called, or undone."""

    place: Place
    class_name: str
    names: tuple[str, ...]
    defined_at: Place | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StaysInTraining:
    """Layers that are in training mode after ``model.eval()``: a ``train`` of the user's does not hand its mode on."""

    place: Place
    class_name: str
    names: tuple[str, ...]
    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A learning-rate schedule beside the loop that it is for.

    ``zero_from`` is the first step of the plan from which on the rate stays at (almost) nothing; ``planned`` the number
    of steps that the loop will make: epochs times batches by the steps per batch that were seen. ``length`` is that of
    a schedule that counts epochs.
    """

    place: Place
    class_name: str
    zero_from: int
    planned: int
    epochs: int
    batches: int
    steps_per_batch: float
    loop: Place
    length: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overwritten:
    """An attribute that one line set on modules of many classes, some of which had it already."""

    place: Place
    attribute: str
    class_name: str
    before: str
    after: str
    times: int
    others: int
    defined_at: Place | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFrozen:
    """A module that got an attribute ``requires_grad`` of False, and has parameters that still require gradients."""

    place: Place
    module: str
    class_name: str
    parameters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderAutocast:
    """Multiplications with weights within a region of autocast, by the precision they were done in."""

    place: Place
    dtype: str
    region: Place
    low: int
    full: int
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Collated:
    """A batch that a collate function made of several samples, in which a tensor holds the first sample only."""

    place: Place
    function: str
    where: str
    samples: int
    shape: tuple[int, ...]
    other_shape: tuple[int, ...]
    batches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Save:
    """A checkpoint that was written.

    ``changed`` names tensors that were written to while the file was being written, ``wrong`` those that read
    differently from the file than they stood in memory. ``other`` are parameters that have other numbers, or another
    shape, than the model's of that name, though others have the same. ``zeroed`` are all parameters that the file
    holds, if every one is 0 there and not in the model.
    ``missing`` are parameters of the model that the file lacks,
    though it holds the ``share`` of the model's elements.
    """

    place: Place
    path: str
    num_tensors: int
    changed: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    zeroed: tuple[str, ...] = ()
    model: str = ""
    missing: tuple[str, ...] = ()
    frozen: int = 0
    share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadUnits:
    """Units of a layer with a one-sided activation that gave 0 for every sample of several steps."""

    place: Place
    module: str
    op: str
    dead: int
    units: int
    samples: int
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyFault:
    """Numbers that came out differently after they were copied from one device to another."""

    place: Place
    source: str
    target: str
    wrong: int
    total: int


CollectiveWhat = Literal["operation", "dtype", "shape", "root", "reduction"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectiveMismatch:
    """The same turn of two ranks of a process group, in which they do not do the same.

    ``parted`` are the lines of the first of the last turns in which the two came from different lines, this rank's and
    the other's: there, the programs went apart, although what they did still fitted.
    """

    place: Place
    group: str
    number: int
    what: CollectiveWhat
    rank: int
    mine: str
    other_rank: int
    other: str
    other_place: Place | None
    parted: tuple[Place, Place] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedMemory:
    """Two parameters of a model that are different objects and the same memory; ``place`` is where the model ran."""

    place: Place
    names: tuple[str, str]
    model: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferWithGraph:
    """Buffers of a model that require gradients after a step: each step's graph hangs on the one before."""

    place: Place
    names: tuple[str, ...]
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfSight:
    """Modules in a list or dict of a module that does not see them, with so many parameters to train."""

    place: Place
    class_name: str
    attribute: str
    modules: int
    parameters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SteppedAgain:
    """A scheduler that stepped by two ways, with no step of an optimizer between, at so many steps."""

    place: Place
    first: Place
    class_name: str
    times: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SteppedEarly:
    """A scheduler that steps once in each turn before the optimizer, at ``optimizer``, does, from the first turn on."""

    place: Place
    optimizer: Place
    class_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyGroup:
    """An optimizer with an empty group without weight decay; in one with ``decay``, ``flat`` have a single axis."""

    place: Place
    optimizer_class: str
    decay: float
    flat: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SameBatches:
    """Steps at which every rank of a data-parallel model was given the same numbers."""

    place: Place
    steps: tuple[int, ...]
    world_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseeded:
    """Draws from the generator of a library that nobody seeded, in a program that seeds others, the first at ``place``.

    ``drawn`` is the first draw; of torch, it is not known.
    """

    place: Place
    library: str
    seeded: tuple[str, ...]
    drawn: Place | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A look of the guard that failed by itself, or a rule: nothing is known of what it looks at."""

    look: str
    error: str

    @classmethod
    def of(cls, look: str, error: Exception) -> LeftOut:
        """Say what an error says in its first line."""
        said = str(error).strip().partition("\n")[0][:200]
        return cls(look=look, error=f"{type(error).__name__}: {said}" if said else type(error).__name__)
