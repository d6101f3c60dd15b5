"""What the guard sees at every step, as plain data (see ``facts``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainworthy.check.finding import Place

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Broadcast:
    """Two operands that both expand to a result which holds the batch size twice."""

    step: int
    place: Place
    op: str
    shapes: tuple[Shape, Shape]
    result: Shape
    batch: int
    is_loss: bool
    is_compare: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LossTargets:
    """Class targets of a cross-entropy, beside the token ids that the model was given.

    ``matches[k]`` is the share of counted targets that equal the input ``k`` positions later. ``padding_idx`` is that
    of an Embedding of the model; ``padding_share`` the share of the counted targets that equal it. ``made_at`` is where
    the loss was made, if it is a module.
    """

    step: int
    place: Place
    num_targets: int
    num_counted: int
    num_classes: int
    ignore_index: int
    ignored_is_class: bool
    distinct: int
    matches: tuple[float, ...] | None = None
    padding_idx: int | None = None
    padding_share: float | None = None
    single_class: bool = False
    is_flat: bool = False
    classes: frozenset[int] = frozenset()
    ignored_at_end: bool = False
    ignored_are_tails: bool = False
    made_at: Place | None = None


ChainFault = Literal["softmax-cross-entropy", "nll-probabilities", "sigmoid-bce-logits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backward:
    """One backward pass; ``faults`` are chains of the graph that squash a prediction twice, with their place.

    ``cleared`` says that the gradient that the pass before left in a parameter is gone. ``num_reused`` are nodes of the
    graph that an earlier pass went through.
    """

    step: int
    place: Place
    loss: float | None = None
    reaches_parameter: bool | None = None
    num_graph_nodes: int | None = None
    num_reused: int | None = None
    faults: tuple[tuple[ChainFault, Place], ...] = ()
    inputs_hash: int | None = None
    is_mean: bool = False
    cleared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One ``optimizer.step()``, just before and just after it.

    Counts are of parameters. ``without_gradient`` names those that had none so far in any optimizer's steps.
    ``gradient_size`` is the sum of the magnitudes of all gradients.
    ``stale`` were updated by a gradient that an earlier step had used already and that
    nobody cleared. ``never_called`` are those without a gradient whose module did not run. ``unmoved`` had a gradient,
    a learning rate above 0, and are as they were. ``rounded_share`` is the
    share of sampled elements of low precision that stayed although their gradient was not 0. ``made_at`` is where the
    optimizer was made, ``uncalled_at`` where the module of the first of ``never_called`` was; ``cleared_at`` is where
    gradients were cleared between the backward pass and the step, ``cast_at`` where weights of low precision were cast,
    ``alike_at`` where the first of ``alike_rows`` was filled.
    """

    step: int
    optimizer: int
    optimizer_class: str
    place: Place
    parameters: int
    trainable: int
    with_gradient: int = 0
    gradient_size: float | None = None
    learning_rate: float | None
    backwards: int
    has_closure: bool = False
    num_without_gradient: int = 0
    without_gradient: tuple[str, ...] = ()
    never_called: tuple[str, ...] = ()
    zero_gradient: tuple[str, ...] = ()
    stale: int = 0
    nonfinite: tuple[str, ...] = ()
    unmoved: tuple[str, ...] = ()
    rounded_share: float | None = None
    low_precision: str | None = None
    alike_rows: tuple[str, ...] = ()
    made_at: Place | None = None
    uncalled_at: Place | None = None
    cleared_at: Place | None = None
    cast_at: Place | None = None
    alike_at: Place | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """A call of a module that no other module called.

    ``mode_layers`` are classes of its layers that act differently in training and evaluation; ``loader`` is the number
    of the loader that gave the last batch; ``used`` says that a gradient reached the results. ``whole`` is the model
    that it is a part of, or itself. ``anchor`` numbers the tensor that it was given, or a part of: the same number is
    the same tensor; ``judged`` says that a loss or a comparison followed, without gradients. ``mode_set_at`` is where
    its mode was set last, and whether no backward pass came after that.
    """

    step: int
    place: Place
    model: int
    name: str
    training: bool
    grad: bool
    mode_layers: tuple[str, ...]
    trainable: bool
    loader: int | None = None
    used: bool = False
    whole: int = 0
    anchor: int | None = None
    judged: bool = False
    mode_set_at: tuple[Place, bool] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropout:
    """Dropout that was at work although the model was in evaluation mode; a stray one is no part of the model."""

    step: int
    place: Place
    op: str
    p: float
    module: str
    is_stray: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A call that clips gradients."""

    step: int
    place: Place
    function: str
    after_step: bool
    before_unscale: bool
    scale: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NonFinite:
    """A step whose loss or gradients were not finite, and the first operation that made it so."""

    step: int
    place: Place
    what: Literal["loss", "gradient"]
    value: str
    op: str | None = None
    module: str = ""
    op_inputs_finite: bool = False
    in_backward: bool = False
    skipped_by_scaler: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """What a model was given: one tensor of its first argument; ``made_at`` is the line of the step that made it."""

    step: int
    place: Place
    shape: Shape
    dtype: str
    minimum: float | None = None
    maximum: float | None = None
    integral: bool = False
    into: str | None = None
    samples_alike: bool = False
    parameter_dtype: str | None = None
    made_at: Place | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch that a DataLoader gave.

    ``content`` is a hash of its float tensors; ``opening``, of the first batch of an epoch, one of all its tensors;
    ``rows``, of an iterable data set with workers, one of each sample.
    """

    step: int
    place: Place
    loader: int
    epoch: int
    index: int
    num_workers: int
    content: int | None
    constant: bool
    is_iterable: bool
    wait_s: float
    shapes: tuple[Shape, ...] = ()
    opening: int | None = None
    rows: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """A DataLoader that was iterated.

    ``shared_size`` is that of a data set that torch's sampler shares among ranks, and fills up for that.
    ``generator_set_at`` is the line that sets the first of ``stored_generators``, ``made_at`` where the loader was
    made, ``iterated_at`` where the ``__iter__`` of an iterable data set of the user's begins.
    """

    place: Place
    loader: int
    num_workers: int
    sampler: str
    batch_size: int | None
    has_worker_init: bool
    stored_generators: tuple[str, ...]
    epochs: tuple[int, ...] = ()
    sampler_epochs: tuple[int, ...] = ()
    world_size: int = 1
    dataset_size: int | None = None
    drop_last: bool = False
    in_training: bool = True
    large_containers: tuple[tuple[str, int], ...] = ()
    shuffles: bool = False
    shared_size: int | None = None
    sampler_place: Place | None = None
    generator_set_at: Place | None = None
    made_at: Place | None = None
    iterated_at: Place | None = None

    @property
    def origin(self) -> Place:
        """Where it was made, as far as that is known; else where it is gone through."""
        return self.made_at or self.place


@dataclass(frozen=True, slots=True, kw_only=True)
class Unoptimised:
    """Parameters of a model that got gradients, belong to no optimizer that stepped, and stayed as they were."""

    names: tuple[str, ...]
    model: str
    steps: int
    place: Place
    others_optimised: bool
    registered: bool = True
    made_at: Place | None = None  # the optimizer that holds others of the model


@dataclass(frozen=True, slots=True, kw_only=True)
class NormDrift:
    """A BatchNorm whose parameters are frozen and whose running statistics moved; where it was set to training mode."""

    names: tuple[str, ...]
    model: str
    steps: int
    place: Place
    mode_set_at: Place | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedModule:
    """One module instance that fills a whole list."""

    path: str
    container: str
    class_name: str
    times: int
    parameters: int
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What an experiment showed: extra forward passes of the model, or extra runs of the step.

    ``change`` is the largest that was seen, ``scale`` the largest value it is to be compared with. ``names`` are what
    differed after a checkpoint, ``ratio`` how many times as large accumulated gradients were. ``began_at`` is the line
    through which one sample reaches the others.
    """

    place: Place
    what: Literal[
        "samples-mixed",
        "place-in-batch",
        "future-leak",
        "padding-matters",
        "mask-inverted",
        "mask-ignored",
        "padding-in-result",
        "padding-in-loss",
        "accumulation",
        "resume",
    ]
    model: str
    change: float
    scale: float
    shape: Shape = ()
    batch_assumed: bool = False
    names: tuple[str, ...] = ()
    ratio: float | None = None
    began_at: Place | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """Parameters or buffers that differ between ranks; ``ranks`` hold others than the first rank that holds them.

    ``broadcast`` buffers will be overwritten by those of one rank before the next forward pass.
    ``bypassed`` is where the model was called without its wrapper.
    """

    step: int
    place: Place
    names: tuple[str, ...]
    is_buffer: bool
    broadcast: bool = False
    wrapped: bool
    world_size: int
    num_compared: int
    ranks: tuple[int, ...] = ()
    bypassed: Place | None = None
    began_alike: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StateLoad:
    """A call of ``load_state_dict``: how many tensors there were, found a place, and were the model's own before."""

    place: Place
    model: str
    num_tensors: int
    num_missing: int
    num_unexpected: int
    num_own: int
    example_missing: str | None
    example_unexpected: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Losses of earlier steps whose graphs were still alive ``steps`` later."""

    place: Place
    steps: int
    alive: int
