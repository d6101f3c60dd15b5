"""Which row of hardware/ a table of runs means by "A100 SXM", and how its variants differ from the row."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from trainworthy.errors import UnknownGpuError
from trainworthy.estimate.run_words import number
from trainworthy.hardware.gpu import Gpu, Link
from trainworthy.hardware.rows import gpu_row, gpu_rows

# What tables call a GPU -> rows of hardware/, by memory; the first is meant where the memory is not stated.
_FAMILIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"\bh100 nvl\b", ("h100-nvl-94gb",)),
    (r"\bh100 pcie\b", ("h100-pcie-80gb",)),
    (r"\b(h100|h800)\b", ("h100-sxm-80gb",)),
    (r"\bh200\b", ("h200-sxm-141gb",)),
    (r"\bh20\b", ("h20-sxm-96gb",)),
    (r"\bgh200\b", ("gh200-sxm-96gb",)),
    (r"\ba100[- ]pcie\b", ("a100-pcie-80gb", "a100-pcie-40gb")),
    (r"\b(a100|a800)\b", ("a100-sxm-80gb", "a100-sxm-40gb")),
    (r"\bv100[- ]pcie\b", ("v100-pcie-32gb", "v100-pcie-16gb")),
    (r"\bv100\b", ("v100-sxm2-32gb", "v100-sxm2-16gb")),
    (r"\bgb200\b", ("gb200-186gb",)),
    (r"\b(b300|gb300)\b", ("b300-sxm-288gb",)),
    (r"\bb200\b", ("b200-sxm-180gb",)),
    (r"\bmi300x\b", ("mi300x-oam-192gb",)),
    (r"\bmi325x\b", ("mi325x-oam-256gb",)),
    (r"\bmi210\b", ("mi210-pcie-64gb",)),
    (r"\ba10\b", ("a10-pcie-24gb",)),
    (r"\ba30\b", ("a30-pcie-24gb",)),
    (r"\ba40\b", ("a40-pcie-48gb",)),
    (r"\bl4\b", ("l4-pcie-24gb",)),
    (r"\bl40\b", ("l40-pcie-48gb",)),
    (r"\bl40s\b", ("l40s-pcie-48gb",)),
    (r"\ba6000\b", ("rtx-a6000-48gb",)),
    (r"\brtx[ -]?3090 ?ti\b", ("rtx-3090ti-24gb",)),
    (r"\b(rtx[ -]?)?2080 ?ti\b", ("rtx-2080ti-11gb",)),
    (r"\b(rtx[ -]?)?3080\b", ("rtx-3080-10gb",)),
    (r"\b(rtx[ -]?)?3090\b", ("rtx-3090-24gb",)),
    (r"\b(rtx[ -]?)?4090\b", ("rtx-4090-24gb",)),
    (r"\b(rtx[ -]?)?5090\b", ("rtx-5090-32gb",)),
    (r"\bmi250x?\b", ("mi250x-gcd-64gb",)),
    (r"\bp100\b", ("p100-sxm2-16gb",)),
    (r"\ba10g\b", ("a10g-pcie-24gb",)),
    (r"\b(tesla )?t4\b", ("t4-pcie-16gb",)),
)
# Parts sold where exports are limited: the same GPU with slower links (NVIDIA data sheets of A800 and H800: 400 GB/s
# in both directions).
_LIMITED_LINK_GB_PER_S = 200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunGpu:
    """A row of hardware/ as a run had it."""

    gpu: Gpu
    generation: str
    """``volta``, ``ampere``, ``hopper``, ``blackwell``, ... as in ``constants/``."""
    nvlink_domain: int | None
    """GPUs that NVLink joins where that is more than a node (NVL72); None: those of a node."""
    assumptions: tuple[str, ...]


def run_gpu(text: str, *, memory_gb: float | None = None) -> RunGpu:
    """Return the GPU that a table means.

    >>> run_gpu("A100 SXM", memory_gb=40).gpu.id, run_gpu("H100 80GB HBM3").gpu.id
    ('a100-sxm-40gb', 'h100-sxm-80gb')
    >>> variant = run_gpu("H100 SXM 96GB HBM2e (500 W, 2.4 TB/s)").gpu
    >>> variant.memory_gb_per_s, variant.power_w, variant.id
    (2400.0, 500, 'h100-sxm-80gb')

    Raises:
        UnknownGpuError: If it is none of them. Nothing is guessed.
    """
    assumptions: list[str] = []
    try:
        gpu = gpu_row(text)
    except UnknownGpuError:
        gpu, assumptions = _from_words(text, memory_gb)
    words = text.casefold()
    gpu = _stated_variant(gpu, words, memory_gb)
    if re.search(r"\b[ah]800\b", words) and gpu.gpu_link is not None:
        gpu = replace(gpu, gpu_link=Link(name=gpu.gpu_link.name, gb_per_s_per_direction=_LIMITED_LINK_GB_PER_S))
    if re.search(r"\bgb300\b", words):
        assumptions.append("GB300 is taken as the row b300-sxm-288gb")
    domain = 72 if re.search(r"\bgb[23]00\b", words) or gpu.id.startswith("gb200") else None
    return RunGpu(gpu=gpu, generation=generation(gpu), nvlink_domain=domain, assumptions=tuple(assumptions))


def generation(gpu: Gpu) -> str:
    """Return the generation whose constants apply: the first word of the architecture's name, in lower case.

    >>> generation(gpu_row("a100-sxm-80gb")), generation(gpu_row("h200-sxm-141gb"))
    ('ampere', 'hopper')
    """
    words = gpu.architecture.name.casefold()
    return (
        "blackwell-ultra" if "ultra" in words or gpu.compute_capability == (10, 3) else words.split()[0].split("(")[0]
    )


def _from_words(text: str, memory_gb: float | None) -> tuple[Gpu, list[str]]:
    words = re.sub(r"\s+", " ", text.casefold().replace("_", " ")).strip()
    for pattern, ids in _FAMILIES:
        if re.search(pattern, words):
            return _by_memory(text, ids, memory_gb)
    raise UnknownGpuError(
        f"No data for GPU {text!r}. Known: {', '.join(gpu_rows())}.",
        where="column gpu, hardware/gpus/",
        fix="Write one of these, or add a row with `trainworthy gpus add FILE`.",
    )


def _by_memory(text: str, ids: tuple[str, ...], memory_gb: float | None) -> tuple[Gpu, list[str]]:
    rows = [gpu_row(name) for name in ids]
    if memory_gb is None:
        stated = re.search(r"(\d+)\s*gb\b", text.casefold())
        memory_gb = None if stated is None else float(stated[1])
    if memory_gb is None:
        unsure = len(rows) > 1
        return rows[0], [f"{text} is taken as {rows[0].id}: its memory is not stated"] if unsure else []
    return min(rows, key=lambda row: abs(row.memory_bytes / 1e9 - memory_gb)), []


def _stated_variant(gpu: Gpu, words: str, memory_gb: float | None) -> Gpu:
    bandwidth = re.search(r"(\d+(?:\.\d+)?)\s*tb/s", words)
    power = re.search(r"(\d+)\s*w\b", words)
    if bandwidth:
        gpu = replace(gpu, memory_gb_per_s=float(bandwidth[1]) * 1000)
    if power:
        gpu = replace(gpu, power_w=int(power[1]))
    stated = number(re.sub(r"gb.*", "", found[0])) if (found := re.search(r"\d+\s*gb\b", words)) else memory_gb
    if stated is not None and abs(gpu.memory_bytes / 1e9 - stated) > 0.08 * stated:
        gpu = replace(gpu, memory_bytes=int(stated * 2**30 * 0.99), memory_bytes_source="what the table states")
    return gpu
