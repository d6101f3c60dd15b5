"""What a large layout costs to rehearse: a Llama-3-405B shape with FSDP2 and tensor parallelism on 512 virtual GPUs.

``python -m benchmarks.cluster`` writes ``results/cluster.json``; each sample is a process of its own, beyond nothing:
imports, the script and the report are in it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, environment, medians, write_result

GPU = "h100-sxm-80gb"
LIMITS = {"seconds": 60.0, "resident_bytes": 4 << 30}
CASES = {
    "Llama-3-405B shape, FSDP2 64 x TP 8, 512 GPUs": (512, ["benchmarks/cluster_llama.py"]),
    "the same, 16 layers, 64 GPUs": (64, ["benchmarks/cluster_llama.py", "--layers", "16"]),
}


def sample(world_size: int, words: list[str]) -> dict[str, Any]:
    """Rehearse rank 0 for two steps through the command line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        command = [
            sys.executable, "-m", "trainworthy", "rehearse", "--gpu", GPU, "--world-size", str(world_size),
            "--gpus-per-node", "8", "--rank", "0", "--exit-zero", "--format", "json", "--output", str(path), *words,
        ]  # fmt: skip
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        result = json.loads(path.read_text(encoding="utf-8"))
    if result["error"]:
        raise RuntimeError(result["error"]["message"])
    rank = result["cluster"]["ranks"][0]
    return {
        "seconds": seconds, "resident_bytes": max(usage.ru_maxrss * 1024, result["host_peak_bytes"]),
        "parameters": result["parameters"], "peak_memory_bytes": result["peak_memory_bytes"],
        "sent_bytes": rank["wire_bytes_per_step"], "collective_bytes": rank["collective_bytes_per_step"],
        "flops_per_step": result["flops_per_step"],
    }  # fmt: skip


def main() -> None:
    """Measure all cases and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    cases = []
    for what, (world_size, words) in CASES.items():
        samples = [sample(world_size, words) for _ in range(repeats)]
        middle = medians(samples)
        cases.append({"what": what, "samples": samples, **middle})
        print(f"{what}: {middle['seconds']:.1f} s, {middle['resident_bytes'] / 2**30:.2f} GiB resident")
    write_result("cluster", limits=LIMITS, cases=cases)


if __name__ == "__main__":
    main()
