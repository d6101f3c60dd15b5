"""What every benchmark shares: machine, versions, fresh processes, medians and the result file."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("torch", "transformers", "torchinfo", "fvcore", "calflops", "numpy")
PATHS = (str(ROOT), str(ROOT / "src"), str(ROOT / "tests"))

for _path in reversed(PATHS):  # a checkout is measured, not whatever is installed
    if _path not in sys.path:
        sys.path.insert(0, _path)


def machine() -> dict[str, Any]:
    """Describe the machine: processor, cores this process may use, memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cpu": _cpu_model(), "cores": cores, "memory_bytes": memory, "system": platform.system()}


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def versions() -> dict[str, str | None]:
    """List the versions that matter; None: not installed."""
    from trainworthy import __version__

    found: dict[str, str | None] = {"python": platform.python_version(), "trainworthy": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def write_result(name: str, **content: Any) -> Path:
    """Write ``results/NAME.json`` with machine, versions and date, and return its path."""
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(timezone.utc).replace(microsecond=0).isoformat()
    result = {"benchmark": name, "date": now, "machine": machine(), "versions": versions(), **content}
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path.relative_to(ROOT)}")
    return path


def read_result(name: str) -> dict[str, Any] | None:
    """Read ``results/NAME.json``; None if that benchmark was never run."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return None
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


def environment() -> dict[str, str]:
    """Return the environment of a measured process: this checkout first, no network, quiet."""
    paths = [*PATHS, os.environ.get("PYTHONPATH", "")]
    quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "PYTHONWARNINGS": "ignore", "NO_COLOR": "1"}
    return {**os.environ, **quiet, "PYTHONPATH": os.pathsep.join(p for p in paths if p)}


def fresh(module: str, *args: str, timeout_s: float = 900.0) -> dict[str, Any]:
    """Run ``python -m module args`` in a process of its own and return the JSON it leaves with ``leave``.

    A process that fails is an answer too: ``{"error": its last line}``.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, "-m", module, *args]
        try:
            done = subprocess.run(
                command, cwd=ROOT, env={**environment(), "BENCHMARK_ANSWER": str(answer)}, timeout=timeout_s,
                capture_output=True, text=True, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return {"error": f"took more than {timeout_s:g} s"}
        if done.returncode or not answer.exists():
            last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
            return {"error": f"exit code {done.returncode}: {last}"}
        result: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        return result


def leave(answer: dict[str, Any]) -> None:
    """Hand an answer from a fresh process to ``fresh``; print it when run by hand."""
    text = json.dumps(answer)
    path = os.environ.get("BENCHMARK_ANSWER")
    if path:
        Path(path).write_text(text, encoding="utf-8")
    else:
        print(text)


def peak_resident_bytes() -> int:
    """Return the most memory this process ever held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def medians(samples: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the median of every number that all samples have; failed samples are left out."""
    good = [s for s in samples if "error" not in s]
    if not good:
        return {}
    names = [n for n, v in good[0].items() if _is_number(v) and all(_is_number(s.get(n)) for s in good)]
    return {name: statistics.median(s[name] for s in good) for name in names}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
