"""What the guard saw, as plain data; live rules read this and nothing else. No torch here.

Numbers are what was measured; None is "not measured". ``step`` counts calls of ``optimizer.step()`` that went before,
over all optimizers, so a fact with ``step == 3`` happened between the third and the fourth.

What single facts look like is in ``facts_steps`` (seen at every step), ``facts_setup`` and ``facts_seldom``; a static
check names them in annotations only, and does not wait for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainworthy.check.finding import Place

if TYPE_CHECKING:
    from trainworthy.check.live.facts_seldom import (
        AddedMask,
        Adversary,
        Alone,
        AppliedTwice,
        ChangedArgument,
        ChangedSample,
        DividedMean,
        Draw,
        HiddenText,
        IdleSampler,
        LoneRow,
        LostTerms,
        MaskedEnd,
        MixedGradients,
        MixedTerms,
        OverQueries,
        PaddedTargets,
        PendingWindow,
        Signals,
        SoftTargets,
        Truncation,
        TwinOptimizers,
        Upscaled,
        View,
        WeighedMean,
    )
    from trainworthy.check.live.facts_setup import (
        BufferWithGraph,
        Collated,
        CollectiveMismatch,
        CopyFault,
        DeadUnits,
        EmptyGroup,
        LeftOut,
        LongGeneration,
        LostFill,
        NotFrozen,
        OutOfSight,
        Overwritten,
        Reinitialised,
        SameBatches,
        Save,
        Schedule,
        SharedMemory,
        StaysInTraining,
        SteppedAgain,
        SteppedEarly,
        UnappliedFreeze,
        UnderAutocast,
        UnreadySpectralNorm,
        Unseeded,
    )
    from trainworthy.check.live.facts_steps import (
        Backward,
        Batch,
        Broadcast,
        Clip,
        Dropout,
        Forward,
        Input,
        Kept,
        Loader,
        LossTargets,
        NonFinite,
        NormDrift,
        Probe,
        Replicas,
        SharedModule,
        StateLoad,
        Step,
        Unoptimised,
    )


@dataclass(slots=True, kw_only=True)
class LiveFacts:
    """Everything that the guard saw, in order."""

    home: Place
    broadcasts: list[Broadcast] = field(default_factory=list)
    targets: list[LossTargets] = field(default_factory=list)
    binary_targets: list[LossTargets] = field(default_factory=list)
    evaluated_targets: list[LossTargets] = field(default_factory=list)
    backwards: list[Backward] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    forwards: list[Forward] = field(default_factory=list)
    dropouts: list[Dropout] = field(default_factory=list)
    clips: list[Clip] = field(default_factory=list)
    nonfinite: list[NonFinite] = field(default_factory=list)
    inputs: list[Input] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    loaders: list[Loader] = field(default_factory=list)
    unoptimised: list[Unoptimised] = field(default_factory=list)
    norm_drifts: list[NormDrift] = field(default_factory=list)
    shared: list[SharedModule] = field(default_factory=list)
    out_of_sight: list[OutOfSight] = field(default_factory=list)
    shared_memory: list[SharedMemory] = field(default_factory=list)
    buffers_with_graph: list[BufferWithGraph] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    alone: list[Alone] = field(default_factory=list)
    divided_means: list[DividedMean] = field(default_factory=list)
    weighed_means: list[WeighedMean] = field(default_factory=list)
    mixed_terms: list[MixedTerms] = field(default_factory=list)
    over_queries: list[OverQueries] = field(default_factory=list)
    views: list[View] = field(default_factory=list)
    applied_twice: list[AppliedTwice] = field(default_factory=list)
    changed_arguments: list[ChangedArgument] = field(default_factory=list)
    changed_samples: list[ChangedSample] = field(default_factory=list)
    equal_sizes: list[dict[str, Any]] = field(default_factory=list)
    replicas: list[Replicas] = field(default_factory=list)
    loads: list[StateLoad] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    soft_targets: list[SoftTargets] = field(default_factory=list)
    masked_ends: list[MaskedEnd] = field(default_factory=list)
    mixed: list[MixedGradients] = field(default_factory=list)
    pending: list[PendingWindow] = field(default_factory=list)
    upscaled: list[Upscaled] = field(default_factory=list)
    draws: list[Draw] = field(default_factory=list)
    idle_samplers: list[IdleSampler] = field(default_factory=list)
    truncations: list[Truncation] = field(default_factory=list)
    lost_terms: list[LostTerms] = field(default_factory=list)
    twin_optimizers: list[TwinOptimizers] = field(default_factory=list)
    added_masks: list[AddedMask] = field(default_factory=list)
    padded_targets: list[PaddedTargets] = field(default_factory=list)
    stepped_targets: list[LossTargets] = field(default_factory=list)
    adversaries: list[Adversary] = field(default_factory=list)
    lone_rows: list[LoneRow] = field(default_factory=list)
    hidden_texts: list[HiddenText] = field(default_factory=list)
    empty_clips: list[Place] = field(default_factory=list)
    signals: list[Signals] = field(default_factory=list)
    scaler_used: bool = False
    reinitialised: list[Reinitialised] = field(default_factory=list)
    lost_fills: list[LostFill] = field(default_factory=list)
    spectral_norms: list[UnreadySpectralNorm] = field(default_factory=list)
    generations: list[LongGeneration] = field(default_factory=list)
    unapplied_freezes: list[UnappliedFreeze] = field(default_factory=list)
    stay_in_training: list[StaysInTraining] = field(default_factory=list)
    schedules: list[Schedule] = field(default_factory=list)
    stepped_again: list[SteppedAgain] = field(default_factory=list)
    stepped_early: list[SteppedEarly] = field(default_factory=list)
    empty_groups: list[EmptyGroup] = field(default_factory=list)
    overwritten: list[Overwritten] = field(default_factory=list)
    not_frozen: list[NotFrozen] = field(default_factory=list)
    under_autocast: list[UnderAutocast] = field(default_factory=list)
    collated: list[Collated] = field(default_factory=list)
    saves: list[Save] = field(default_factory=list)
    dead_units: list[DeadUnits] = field(default_factory=list)
    copy_faults: list[CopyFault] = field(default_factory=list)
    collectives: list[CollectiveMismatch] = field(default_factory=list)
    same_batches: list[SameBatches] = field(default_factory=list)
    unseeded: list[Unseeded] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    device: str = "cpu"
    seconds: float | None = None
    loader_wait_s: float = 0.0
    num_steps: int = 0
    saw_the_end: bool = False  # of the program, or of what the guard is around, before it had seen all its steps

    def steps_by_optimizer(self) -> Iterator[list[Step]]:
        """Yield the steps of each optimizer, in order."""
        found: dict[int, list[Step]] = {}
        for step in self.steps:
            found.setdefault(step.optimizer, []).append(step)
        yield from found.values()
