"""What a run is put together from: each function makes one part of it from the recipe and its options."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import IterableDataset

from trainworthy.errors import TrainError, UsageError
from trainworthy.train import layout as layouts
from trainworthy.train import precision, spread
from trainworthy.train.batches import counter
from trainworthy.train.checkpoint import Checkpoints
from trainworthy.train.evaluation import Evaluation
from trainworthy.train.journal import Journal
from trainworthy.train.layout import Layout
from trainworthy.train.limits import check_options
from trainworthy.train.loading import Fetch, MapLoader, MicroBatch, Plan
from trainworthy.train.meters import Meters
from trainworthy.train.phase import PhaseRun
from trainworthy.train.precision import Precision
from trainworthy.train.profiling import ProfileWindow
from trainworthy.train.progress import Progress
from trainworthy.train.randomness import Domain, StepSeeder, initialising, order
from trainworthy.train.ranks import Ranks
from trainworthy.train.recipe import Recipe, TrainOptions
from trainworthy.train.streaming import Stream, StreamLoader

if TYPE_CHECKING:
    from torch import nn

Loader = MapLoader | StreamLoader


def checked(recipe: Recipe) -> TrainOptions:
    """Return the options of a recipe that can be trained.

    Raises:
        UsageError: An option is out of its range, or phases have no names of their own.
    """
    names = [phase.name for phase in recipe.phases]
    if not names or len(set(names)) < len(names):
        raise UsageError(
            f"The phases are named {names}; there must be at least one, and each its own name.", where="Recipe.phases"
        )
    return check_options(recipe.options)


@contextmanager
def processes(options: TrainOptions) -> Iterator[Ranks]:
    """Join the processes of the run, if there are several; a process group that exists already is used as it is."""
    from torch import distributed

    with ExitStack() as stack:
        stack.enter_context(_deterministic(options.deterministic))
        if distributed.is_available() and distributed.is_initialized():
            device = torch.device("cpu" if options.device == "auto" else options.device)
            rank, size = distributed.get_rank(), distributed.get_world_size()
            group = distributed.new_group(backend="gloo") if size > 1 else None
            yield Ranks(rank=rank, size=size, device=device, group=group)
        else:
            from trainworthy.train.launch import joined

            yield stack.enter_context(joined(options.device))


@contextmanager
def _deterministic(wanted: bool) -> Iterator[None]:
    """Have torch refuse what has no deterministic algorithm."""
    before = torch.are_deterministic_algorithms_enabled()
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it torch refuses products on GPUs
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        if torch.are_deterministic_algorithms_enabled() != before:  # asking imports torch's compiler, for seconds
            torch.use_deterministic_algorithms(before)


def find_layout(options: TrainOptions, device: torch.device) -> Layout:
    """Return where this process stands."""
    return layouts.find_layout(device=device, tensor=options.tensor_parallel, pipeline=options.pipeline_parallel)


def numbers(options: TrainOptions, device: torch.device) -> Precision:
    """Return in which numbers is computed."""
    return precision.precision(options.precision, device)


def model(recipe: Recipe, layout: Layout, numbers: Precision) -> spread.Spread:
    """Make the model, with weights that follow from the seed, and spread it over its devices."""
    with initialising(recipe.options.seed):
        made = recipe.model()

    def example() -> Any:
        data: Any = recipe.train_data
        return Fetch(data, recipe.collate, recipe.options.seed)[MicroBatch(0, 0, [0])]

    return spread.spread(made, recipe, layout, numbers, example)


def loader(recipe: Recipe, layout: Layout, device: torch.device, here: Ranks) -> Loader:
    """Return what loads this rank's share of the training data."""
    options = recipe.options
    data: Any = recipe.train_data
    pin_memory = device.type == "cuda"
    if isinstance(data, IterableDataset):
        return _stream(recipe, data, layout, here, pin_memory=pin_memory)
    if options.overfit_batches:
        size = min(len(data), options.overfit_batches * options.batch_size)
        data = torch.utils.data.Subset(data, order(options.seed, 0, len(data))[:size].tolist())
    plan = Plan(
        size=len(data),
        batch_size=options.batch_size,
        micro_batch_size=options.micro_batch_size,
        seed=options.seed,
        rank=layout.data_rank,
        ranks=layout.data,
    )
    return MapLoader(data, plan, collate=recipe.collate, workers=options.workers, pin_memory=pin_memory)


def _stream(
    recipe: Recipe, data: IterableDataset[Any], layout: Layout, here: Ranks, *, pin_memory: bool
) -> StreamLoader:
    options = recipe.options
    if options.overfit_batches or layout.data < layout.world:
        raise UsageError(
            "Iterable training data goes with neither train.overfit_batches nor tensor or pipeline parallelism: "
            "no sample can be asked for twice.",
            where="Recipe.train_data",
            fix="Use a dataset with len() and [index].",
        )
    stream = Stream(
        batch_size=options.batch_size, micro_batch_size=options.micro_batch_size, seed=options.seed, ranks=here
    )
    return StreamLoader(data, stream, collate=recipe.collate, workers=options.workers, pin_memory=pin_memory)


def steps(options: TrainOptions, data: Loader) -> int:
    """Return the number of steps of the whole run.

    Raises:
        UsageError: Neither the options nor the data say how many.
    """
    if options.steps is not None:
        return options.steps
    if data.steps_per_epoch is None:
        raise UsageError("train.steps is None, and the data has no length.", fix="train.steps=...")
    return options.epochs * data.steps_per_epoch


def evaluation(recipe: Recipe, layout: Layout, numbers: Precision) -> Evaluation | None:
    """Return what measures the validation data; None if there is none."""
    if recipe.validation_data is None:
        return None
    options = recipe.options
    data: Any = recipe.validation_data
    return Evaluation(
        data,
        recipe.evaluate or recipe.phases[0].loss,
        collate=recipe.collate,
        count=counter(recipe.count),
        batch_size=options.micro_batch_size or max(1, options.batch_size // layout.data),
        layout=layout,
        precision=numbers,
        seeder=StepSeeder(options.seed, rank=layout.data_rank, device=numbers.device, domain=Domain.EVALUATION),
        seed=options.seed,
        workers=options.workers,
    )


def phases(recipe: Recipe, model: spread.Spread, numbers: Precision, meters: Meters, steps: int) -> list[PhaseRun]:
    """Return the phases at work; where there are several, their names are in those of their metrics."""
    several = len(recipe.phases) > 1
    return [
        PhaseRun(
            phase,
            model,
            numbers,
            prefix=f"{phase.name}/" if several else "",
            check_finite=recipe.options.check_finite,
            meters=meters,
            steps=steps,
        )
        for phase in recipe.phases
    ]


def without_phase(model: nn.Module, owned: Iterable[nn.Parameter]) -> str | None:
    """Return a warning about parameters that require a gradient and that no phase trains; None if there are none."""
    ids = {id(each) for each in owned}
    names = [name for name, each in model.named_parameters() if each.requires_grad and id(each) not in ids]
    if not names:
        return None
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"no phase trains {', '.join(names[:3])}{more}; give them to one, or set requires_grad to False"


def step_seeder(options: TrainOptions, layout: Layout, device: torch.device) -> StepSeeder:
    """Return what sets the random numbers of a step; ranks that share layers draw the same."""
    return StepSeeder(options.seed, rank=layout.data_rank, device=device)


def checkpoints(
    recipe: Recipe, folder: Path, layout: Layout, here: Ranks, *, say: Callable[[str], None]
) -> Checkpoints:
    """Return the checkpoints of the run's folder."""
    options = recipe.options
    data: Any = recipe.train_data
    exactness = {
        "seed": options.seed,
        "samples": None if isinstance(data, IterableDataset) else len(data),
        "batch_size": options.batch_size,
        "micro_batch_size": options.micro_batch_size,
        "precision": options.precision,
        "tensor_parallel": layout.tensor,
        "pipeline_parallel": layout.pipeline,
    }
    return Checkpoints(
        folder / "checkpoints",
        ranks=here,
        keep=options.keep_checkpoints,
        background=options.async_checkpoint,
        exactness=exactness,
        config=dataclasses.asdict(options),
        warn=say,
    )


def sharded_parameters(model: nn.Module) -> dict[str, torch.Tensor] | None:
    """Return the parameters that are in parts, by name; None if none is."""
    parts = {name: each for name, each in model.named_parameters() if hasattr(each, "to_local")}
    return parts or None  # type: ignore[return-value]


def load_model(model: nn.Module, state: Mapping[str, Any]) -> None:
    """Load weights and buffers.

    Raises:
        TrainError: They belong to another model.
    """
    own = model.state_dict()
    missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = [name for name in sorted(own.keys() & state.keys()) if own[name].shape != state[name].shape]
    if missing or unknown or shapes:
        words = [
            f"{what}: {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
            for what, names in (("missing", missing), ("unknown", unknown), ("of another shape", shapes))
            if names
        ]
        raise TrainError(
            f"The checkpoint belongs to another model. {'; '.join(words)}.",
            where="Recipe.model",
            fix="Resume with the recipe and settings that wrote it, or start anew in another folder.",
        )
    model.load_state_dict(dict(state))


def journal(
    options: TrainOptions, folder: Path, layout: Layout, *, after_step: int, warn: Callable[[str], None]
) -> Journal:
    """Return what writes the metrics down; on rank 0 only."""
    return Journal(folder if layout.first else None, after_step=after_step, tensorboard=options.tensorboard, warn=warn)


def progress(options: TrainOptions, layout: Layout, steps: int, *, quiet: bool) -> Progress:
    """Return what shows how far the run is."""
    return Progress(steps, every_s=options.log_every_s, stream=sys.stderr if layout.first and not quiet else None)


def profile(options: TrainOptions, folder: Path, layout: Layout) -> ProfileWindow:
    """Return the window that is profiled."""
    return ProfileWindow(options.profile_steps, folder / f"trace-rank{layout.rank}.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What the model FLOPs utilisation is worked out from; None: it is not.

    Attributes:
        flops_per_step: FLOP of one step, all ranks and micro-batches together.
        peak_flops_per_s: Of one device.
    """

    flops_per_step: float | None = None
    peak_flops_per_s: float | None = None


@dataclass(slots=True)
class Clock:
    """Time spent in steps since the last row of metrics; evaluations and checkpoints do not count.

    Attributes:
        items: What the losses counted since then, over all ranks.
    """

    items: float = 0.0
    _step: int = 0
    _sample: int = 0
    _since: float = field(default_factory=time.perf_counter)

    def start(self, step: int, sample: int) -> None:
        """Begin to count."""
        self._step, self._sample, self._since, self.items = step, sample, time.perf_counter(), 0.0

    def pause(self, seconds: float) -> None:
        """Do not count these seconds, which have just passed."""
        self._since += seconds

    def rates(self, step: int, sample: int, speed: Speed, devices: int) -> dict[str, float]:
        """Return the rates since the last call, and begin anew. The caller has just waited for the device."""
        seconds = max(time.perf_counter() - self._since, 1e-9)
        steps, samples = step - self._step, sample - self._sample
        rates = {
            "step_s": seconds / max(steps, 1),
            "samples_per_s": samples / seconds,
            "items_per_s": self.items / seconds,
        }
        if speed.flops_per_step is not None:
            rates["flops_per_s"] = speed.flops_per_step * steps / seconds
            if speed.peak_flops_per_s is not None:
                rates["mfu"] = rates["flops_per_s"] / (speed.peak_flops_per_s * devices)
        self.start(step, sample)
        return rates
