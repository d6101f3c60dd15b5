"""Facts of which most trainings have none; see ``facts.py``. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainworthy.check.finding import Place

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftTargets:
    """Targets of a cross-entropy that are no classes but numbers; ``off_by`` is how far a row's sum is from 1."""

    step: int
    place: Place
    shape: Shape
    off_by: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncation:
    """A fraction that was written into a tensor of integers, and cut off."""

    place: Place
    value: float
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LostTerms:
    """A sum that was stored at ``places`` of which only ``distinct`` are different."""

    place: Place
    places: int
    distinct: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedTerms:
    """A loss of which one term is a sum over the batch, of numbers of ``shape``, and another, at ``mean``, a mean."""

    step: int
    place: Place
    mean: Place
    batch: int
    shape: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class DividedMean:
    """A mean over the batch, taken at ``mean``, that is divided by the number of samples on its way into the loss."""

    step: int
    place: Place
    mean: Place
    batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WeighedMean:
    """One number for the whole batch, made at ``mean``, that is multiplied with a number for each sample."""

    step: int
    place: Place
    mean: Place
    batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedEnd:
    """Rows of tokens whose ignored tail is one token that is never a target, after last targets that all differ."""

    step: int
    place: Place
    token: int
    rows: int
    distinct_last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedGradients:
    """Gradients with parts of two backward passes between which another optimizer used those of the first."""

    step: int
    place: Place
    optimizer: str
    parameters: int
    first: Place
    last: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingWindow:
    """An epoch that began while gradients of the one before were waiting for step number ``step``.

    ``idle_optimizer`` is one that holds parameters with gradients and has never stepped, if it was looked for.
    """

    place: Place
    pending: int
    step: int
    idle_optimizer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleSampler:
    """A sampler that shares data out among ranks and was never asked, while training goes through all of the same data.

    ``place`` is where it does; ``made`` is the sampler's, ``used`` the class of the one that the loader has.
    """

    place: Place
    made: Place
    used: str
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """A draw without replacement of more than there is: ``available`` weights are not 0."""

    step: int
    place: Place
    wanted: int
    available: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinOptimizers:
    """Two optimizers that step the very same parameters, neither within the other's step."""

    place: Place
    other: Place
    classes: tuple[str, str]
    parameters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedMask:
    """A mask of attention that is added to the scores and holds nothing but 0 and 1."""

    step: int
    place: Place
    shape: Shape
    ones: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddedTargets:
    """Targets that count, a ``share`` of which stand where the input is padding, and are one that is none elsewhere."""

    step: int
    place: Place
    token: int
    target: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Adversary:
    """A step of a generator that pushes the scores of its samples away from a label, as maximising a loss does.

    With ``helps`` it pushes them the way that the discriminator does, whose own step came before.
    """

    step: int
    place: Place
    discriminator: str
    push: Literal["to 0", "to 1", "from 0", "from 1"]
    helps: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LoneRow:
    """A model that was given one row, of ``shape``, where there are ``count`` targets, or texts and other rows."""

    step: int
    place: Place
    count: int
    shape: Shape
    content: float
    of_texts: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenText:
    """A mask of attention that hides all of the past, or all of the text, and leaves the future, or padding."""

    step: int
    place: Place
    what: Literal["past", "text"]
    shape: Shape
    operation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Upscaled:
    """Data that were made larger by interpolation before the model got them."""

    step: int
    place: Place
    before: Shape
    after: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """What runs through a model at its beginning: spreads of the results of its layers, in order, by name.

    ``saturated`` are tanh and sigmoid modules, not the last module, with the share of their results at the ends;
    ``saturated_lines`` are lines that call the function tanh, and do not make the model's result;
    ``two_streams`` are BatchNorms that were called twice with inputs whose means are several spreads apart. ``made_at``
    is where such a BatchNorm was made, ``filled_at`` where the weight before the first saturated module was filled.
    """

    place: Place
    model: str
    spreads: tuple[tuple[str, float], ...]
    saturated: tuple[tuple[str, float], ...]
    two_streams: tuple[tuple[str, float], ...]
    saturated_lines: tuple[tuple[Place, float], ...] = ()
    made_at: Place | None = None
    filled_at: Place | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """A squeeze without an axis that takes the batch's, too, when a model is given one sample of a batch of ``size``.

    ``given`` is what it squeezed then; ``several`` and ``one`` are the shapes of the first result of the model that
    lacks the axis, or ``error`` is what one sample led to.
    """

    place: Place
    model: str
    given: Shape
    size: int
    several: Shape
    one: Shape
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OverQueries:
    """A softmax of ``length`` x ``length`` scores that gives each key, not each query, weights that sum to 1.

    ``used`` is where values are multiplied with them. With ``samples`` above 1 it runs over all of that many samples.
    """

    place: Place
    model: str
    length: int
    used: Place
    samples: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A view that a line of the user's takes in a forward pass; ``is_data``: of what a model was given."""

    place: Place
    before: Shape
    after: Shape
    is_data: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedTwice:
    """A norm or dropout that is given its own output; ``layer`` is "" if the function is called."""

    place: Place
    layer: str
    operation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedArgument:
    """A tensor that a function was given, changed in place and did not return, and that is used afterwards.

    ``again`` says that the use is the next call of the function, which changes it once more.
    """

    place: Place
    argument: str
    function: str
    used: Place
    again: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedSample:
    """A sample that is another when it is taken again, because taking it, or collating it, changes what is stored.

    ``by`` is ``__getitem__`` or ``collate``; ``where`` is the part of the sample that differs, ``stored`` the part of
    the data set that was changed.
    """

    place: Place
    loader: Place
    dataset: str
    by: str
    where: str
    stored: str
