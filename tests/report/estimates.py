"""Estimates that the reports are tested with."""

from __future__ import annotations

import dataclasses
from typing import Any

from estimate.hand_made import chain
from report import cases, cluster_tapes
from trainworthy._api.estimate import estimate_result
from trainworthy.estimate.amounts import Amounts
from trainworthy.estimate.result import Estimate
from trainworthy.inspect import RehearsalResult, summarize, summarize_ranks

GPU = "h100-sxm-80gb"


def of(result: RehearsalResult, **options: Any) -> Estimate:
    return estimate_result(result, gpu=GPU, **options)


def single() -> Estimate:
    return of(
        summarize(chain(layers=4, elements=1 << 24)),
        amounts=Amounts(price_per_hour=2.5, samples_per_step=8, tokens_per_step=8192),
    )


def compiled() -> Estimate:
    return of(summarize(chain(layers=4)), mode="compiled")


def sharded() -> Estimate:
    return of(summarize_ranks([cluster_tapes.fsdp(rank) for rank in (0, 1, 8, 63)], assume_others=True))


def staged() -> Estimate:
    return of(summarize_ranks([cluster_tapes.pipeline(rank) for rank in range(4)]))


def failed() -> Estimate:
    return of(cases.failed())


def empty() -> Estimate:
    return of(cases.empty())


def hostile() -> Estimate:
    """Names, paths and messages that try to break out of a report."""
    found = of(cases.hostile())
    return dataclasses.replace(found, script=cases.HOSTILE, assumptions=[cases.HOSTILE], gpu=cases.HOSTILE)


def on_cpu() -> Estimate:
    return estimate_result(summarize(chain(layers=2)), gpu="xeon-8480plus")


ALL = {each.__name__: each for each in (single, compiled, sharded, staged, failed, empty, hostile, on_cpu)}
