"""What the figures of an estimate mean; printed beside them."""

from __future__ import annotations

from trainworthy.estimate.result import Definition

__all__ = ["DEFINITIONS"]

DEFINITIONS = (
    Definition(
        name="step",
        text="one optimizer step with all its micro-steps, in the steady state: the distance from one to the next",
    ),
    Definition(
        name="MFU",
        text="model FLOPs of a step (no recomputation; causal attention counts the full square; 2 per multiply-add) "
        "over step time x dense peak of the unit that does most of them (PaLM, 2022)",
    ),
    Definition(
        name="HFU",
        text="the same with the FLOPs that are executed, recomputation included (Korthikanti et al., 2022)",
    ),
    Definition(name="floor", text="operations at the stated peaks, one after the other: no launches, no network"),
    Definition(
        name="latency", text="one step alone, from idle until its last kernel: the host's first launches are not hidden"
    ),
    Definition(
        name="needed",
        text="what the allocator reserves, the CUDA context, and buffers of NCCL; its low end is what tensors take, "
        "because the allocator gives unused memory back before it gives up",
    ),
)
