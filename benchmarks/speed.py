"""How long a rehearsal takes and how it grows; each sample is a process of its own.

``python -m benchmarks.speed`` writes ``results/speed.json``. ``--quick`` takes one sample of each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, environment, fresh, medians, write_result

LAYERS = (63, 126, 252)
EXAMPLE = ROOT / "examples" / "transformer_lm.py"
GPU = "h100-sxm-80gb"
START_UPS = {
    "bare_python": ["-c", "pass"],
    "import_trainworthy": ["-c", "import trainworthy"],
    "help": ["-m", "trainworthy", "--help"],
    "rehearse_help": ["-m", "trainworthy", "rehearse", "--help"],
}
LIMITS = {
    "llama_405b_seconds": 10.0, "llama_405b_peak_resident_bytes": 2 << 30, "example_seconds_beyond_imports": 5.0,
    "import_seconds_beyond_python": 0.1, "help_seconds": 0.2, "time_ratio_for_twice_the_layers": 2.1,
    "tape_ratio_for_twice_the_layers": 1.2, "report_ratio_for_twice_the_layers": 1.2,
}  # fmt: skip


def llama(repeats: int) -> dict[str, Any]:
    """Rehearse the 405B-shaped step, half its layers and twice its layers, in turn."""
    runs: list[tuple[int, int]] = [*((layers, 1) for layers in LAYERS), (126, 2)]
    samples: dict[str, list[dict[str, Any]]] = {}
    for repeat in range(repeats):
        for layers, steps in runs:
            sample = fresh("benchmarks.llama", "--layers", str(layers), "--steps", str(steps))
            samples.setdefault(f"{layers}_layers_{steps}_steps", []).append(sample)
            print(f"  {repeat}: {layers} layers, {steps} steps: {sample.get('error') or _line(sample)}")
    middle = {name: medians(found) for name, found in samples.items()}
    return {"samples": samples, "medians": middle, "doubling": _doubling(middle)}


def _line(sample: dict[str, Any]) -> str:
    seconds, report = sample["seconds"], sample["report_command_seconds"]
    return f"{seconds:.2f} s, report {report:.2f} s, {sample['peak_resident_bytes'] / 2**20:,.0f} MiB"


def _doubling(middle: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return what twice the layers cost, as ratios of medians."""
    names = ("seconds", "cpu_seconds", "tape_bytes", "text_seconds", "text_characters", "report_seconds",
             "report_command_seconds", "load_seconds", "num_ops", "peak_resident_bytes")  # fmt: skip
    ratios = {}
    for one, two in ((63, 126), (126, 252)):
        less, more = middle.get(f"{one}_layers_1_steps"), middle.get(f"{two}_layers_1_steps")
        if less and more:
            ratios[f"{one}_to_{two}"] = {name: more[name] / less[name] for name in names}
    return ratios


def start_up(repeats: int) -> dict[str, Any]:
    """Time Python alone, ``import trainworthy`` and ``--help``, in turn."""
    samples: dict[str, list[float]] = {name: [] for name in START_UPS}
    for _ in range(repeats):
        for name, words in START_UPS.items():
            samples[name].append(_seconds([sys.executable, *words]))
    middle = medians([dict(zip(samples, row, strict=True)) for row in zip(*samples.values(), strict=True)])
    bare = middle["bare_python"]
    beyond = {f"{name}_beyond_python": value - bare for name, value in middle.items() if name != "bare_python"}
    return {"samples": samples, "medians": {**middle, **beyond}}


def example(repeats: int) -> dict[str, Any]:
    """Rehearse the GPT-2 124M example through the command line, less what its imports take by themselves."""
    if not EXAMPLE.exists():
        return {"error": f"{EXAMPLE.relative_to(ROOT)} does not exist"}
    samples = []
    for _ in range(repeats):
        imports = _seconds([sys.executable, "-c", _imports(EXAMPLE.read_text(encoding="utf-8"))])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "result.json"
            command = ["rehearse", "--gpu", GPU, "--exit-zero", "--format", "json", "--output", str(path)]
            seconds = _seconds([sys.executable, "-m", "trainworthy", *command, str(EXAMPLE)])
            result = json.loads(path.read_text(encoding="utf-8"))
        keys = ("verdict", "parameters", "peak_memory_bytes", "flops_per_step", "host_peak_bytes")
        samples.append(
            {"seconds": seconds, "import_seconds": imports, "seconds_beyond_imports": seconds - imports}
            | {key: result[key] for key in keys}
        )
        print(f"  example: {seconds:.2f} s, of it imports {imports:.2f} s, {result['verdict']}")
    return {"samples": samples, "medians": medians(samples)}


def _imports(text: str) -> str:
    """Return the script's own top-level imports; importing an optimizer brings what torch loads late."""
    lines = [line for line in text.splitlines() if line.startswith(("import ", "from "))]
    return "\n".join(line for line in lines if not line.startswith("from __future__"))


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} left with {done.returncode}: {done.stderr[-500:]}")
    return seconds


def main() -> None:
    """Run all of it and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one sample of each")
    quick = parser.parse_args().quick
    starts = start_up(3 if quick else 15)
    print({name: round(value, 3) for name, value in starts["medians"].items()})
    shown = example(1 if quick else 5)
    grown = llama(1 if quick else 5)
    write_result("speed", limits=LIMITS, start_up=starts, example=shown, llama=grown)


if __name__ == "__main__":
    main()
