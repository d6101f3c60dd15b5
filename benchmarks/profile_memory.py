"""Peaks of the programs of ``memory_programs.py``: what tensors take, and what the allocator reserves for it.

``python -m benchmarks.profile_memory [NAME ...]`` writes them into the profiles of ``estimate/profile_data``, under
``"memory"``: a list of ``[batch, allocated bytes, reserved bytes]`` for each variant.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from benchmarks.common import ROOT
from benchmarks.memory_programs import PROGRAMS

_GPU = "v100-sxm2-32gb"  # the generation decides only which workspaces convolutions take
FOLDER = ROOT / "src" / "trainworthy" / "estimate" / "profile_data"


def main() -> None:
    for name in sys.argv[1:] or PROGRAMS:
        write_memory(FOLDER / f"{name}.json", name)
        print(name, flush=True)


def write_memory(path: Path, name: str) -> None:
    """Put the peaks of a program into the text of its profile, and leave its other lines as they are."""
    recorded = {
        f"train-{kind}": [[batch, *peaks(name, batch, mixed=kind == "amp")] for batch in PROGRAMS[name].batches]
        for kind in ("amp", "fp32")
    }
    path.write_text(with_memory(path.read_text(encoding="utf-8"), recorded), encoding="utf-8")


def with_memory(profile: str, recorded: dict[str, list[list[int]]]) -> str:
    """Replace or add the entry of a profile's text.

    >>> with_memory('{"model": "m","variants":{}}', {"train-amp": [[1, 2, 3]]})
    '{"model": "m","memory":{"train-amp":[[1,2,3]]},"variants":{}}'
    """
    entry = json.dumps(recorded, separators=(",", ":"))
    bare = re.sub(r'"memory":\{.*?\},"variants"', '"variants"', profile, count=1)
    return bare.replace('"variants"', f'"memory":{entry},"variants"', 1)


def peaks(name: str, batch: int, *, mixed: bool) -> tuple[int, int]:
    """Rehearse a program on the virtual GPU and replay its requests through the allocator."""
    from trainworthy.hardware import gpu_row
    from trainworthy.inspect.replay import replay
    from trainworthy.virtual.gpu import VirtualGpu

    program = PROGRAMS[name]
    with VirtualGpu(gpu_row(_GPU)) as gpu:
        gpu.recorder.steps.begin()
        program.run(batch, program.mixed if mixed else "fp32")
        gpu.recorder.steps.finish()
        tape = gpu.tape(script=program.source, steps=1)
    found = replay(tape)
    return found.peak_allocated_bytes, found.peak_reserved_bytes


if __name__ == "__main__":
    main()
