"""Run public training scripts under the live guard; write down every finding, with a verdict from reading the source.

    python benchmarks/guard_public.py --checkouts FOLDER --data FOLDER --work FOLDER [--only REPO...] [--match TEXT]

Scripts, arguments and data are those of ``compatibility.toml``; they run on the CPU, for a few steps, with all live
rules. ``--only`` and ``--match`` run some of them again and keep what is known of the others.
The verdicts are in ``guard_verdicts.toml``; a finding without one is counted as not judged.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import read_result, write_result
from compatibility import copy_checkout, environment, folder_of, git

from trainworthy.check.live.command import check_live
from trainworthy.check.rule import all_rules
from trainworthy.errors import TrainworthyError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).resolve().parent
REPOSITORIES = (
    "pytorch/examples", "karpathy/nanoGPT", "karpathy/minGPT", "karpathy/makemore", "karpathy/ng-video-lecture",
    "eriklindernoren/PyTorch-GAN", "yunjey/pytorch-tutorial", "MorvanZhou/PyTorch-Tutorial", "hunkim/PyTorchZeroToAll",
    "hunkim/DeepLearningZeroToAll", "graykode/nlp-tutorial", "L1aoXingyu/pytorch-beginner",
    "jcjohnson/pytorch-examples", "kuangliu/pytorch-cifar", "weiaicunzai/pytorch-cifar100",
    "akamaster/pytorch_resnet_cifar10", "locuslab/TCN",
    "tkipf/pygcn", "Diego999/pyGAT", "milesial/Pytorch-UNet", "TeaPearce/Conditional_Diffusion_MNIST",
    "znxlwm/pytorch-generative-model-collections", "seungeunrho/minimalRL", "lucidrains/x-transformers",
    "AntixK/PyTorch-VAE", "jadore801120/attention-is-all-you-need-pytorch", "vwxyzjn/cleanrl", "pytorch/ignite",
    "lucidrains/vit-pytorch", "huggingface/accelerate", "huggingface/pytorch-image-models", "thuml/Time-Series-Library",
    "Lightning-AI/pytorch-lightning",
)  # fmt: skip
WANTS_GPU = {"--accel", "--cuda", "--gpu", "device=cuda", "--device=cuda"}
_FOLDERS = re.compile(r"(?<![\w:/.])/(?:[^/\s'\"()]+/)+")
SHOWN = ("code", "name", "severity", "path", "line", "message")


def entries(only: list[str], match: str) -> list[dict[str, Any]]:
    """Return the single-process scripts of the chosen repositories, each once."""
    raw = tomllib.loads((HERE / "compatibility.toml").read_text(encoding="utf-8"))["script"]
    found = {
        (e["repo"], e["script"]): e for e in reversed(raw)
        if e["repo"] in only and "script" in e and "world_size" not in e and match in e["script"]
    }  # fmt: skip
    return list(reversed(found.values()))


def arguments(entry: dict[str, Any], data: Path) -> list[str]:
    """Return the script's arguments, for a machine without a GPU."""
    words = shlex.split(entry.get("args", "").replace("{data}", str(data)))
    kept: list[str] = []
    for word in words:
        if kept and kept[-1] == "--gpu":
            kept.pop()
        elif word == "--gpu" or word not in WANTS_GPU:
            kept.append(word)
    if entry["repo"] == "karpathy/nanoGPT":
        small = "--batch_size=4 --block_size=64 --n_layer=2 --n_head=2 --n_embd=32 --gradient_accumulation_steps=2"
        kept = ["config/train_shakespeare_char.py", "--device=cpu", "--compile=False", "--eval_iters=2", *small.split()]
    return kept


def run(entry: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Run one script and return what was found."""
    checkout = options.checkouts / entry["repo"]
    copy_checkout(checkout, options.work / "guard" / entry["repo"])
    cwd = folder_of(entry, options, "guard")
    script = os.path.relpath(options.work / "guard" / entry["repo"] / entry["script"], cwd)
    result = {"repo": entry["repo"], "revision": git(checkout, "rev-parse", "HEAD")[:10], "script": entry["script"]}
    before, started, outside = Path.cwd(), time.perf_counter(), dict(os.environ)
    os.chdir(cwd)
    more = environment(entry, cwd, options)
    asked = entry.get("env", {}).get("PYTHONPATH", "").replace("{cwd}", str(cwd))
    more["PYTHONPATH"] = os.pathsep.join(filter(None, [outside.get("PYTHONPATH"), asked]))
    os.environ.update(more)
    try:
        seen = check_live(script, args=arguments(entry, options.data), steps=options.steps,
                          time_limit_s=options.time_limit)  # fmt: skip
    except TrainworthyError as error:  # our own failure: it must be seen, not end the others
        return {**result, "steps": 0, "seen": False, "error": f"trainworthy: {error}"[:300], "findings": []}
    finally:
        os.chdir(before)
        os.environ.clear()
        os.environ.update(outside)
    failed = seen.error and f"{seen.error['kind']}: {seen.error['message'].splitlines()[0][:200]}"
    return {
        **result, "steps": seen.steps, "seen": failed is None or seen.steps >= options.steps // 2,
        "error": failed,
        "seconds": round(time.perf_counter() - started, 1),
        "findings": [{k: f.to_dict()[k] for k in SHOWN} for f in seen.findings], "left_out": list(seen.left_out),
    }  # fmt: skip


def judged(scripts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give each finding the verdict of its repository, script, line and code, and whether its rule is on by default."""
    known = {
        (v["repo"], v["script"], v["line"], v["code"]): v
        for v in tomllib.loads((HERE / "guard_verdicts.toml").read_text(encoding="utf-8"))["finding"]
    }
    rules = all_rules()
    for one in scripts:
        one["error"] = one["error"] and _FOLDERS.sub("", one["error"])  # those of this machine
        for finding in one["findings"]:
            verdict = known.get((one["repo"], one["script"], finding["line"], finding["code"]), {})
            finding["on_by_default"] = rules[finding["code"]].default
            finding["verdict"] = verdict.get("verdict", "not judged")
            finding["reason"] = verdict.get("reason", "")
    return scripts


def summary(scripts: list[dict[str, Any]]) -> dict[str, Any]:
    """Count scripts, and findings of rules that are on by default and of others, by verdict."""
    seen = [one for one in scripts if one["seen"]]
    found = [(f["on_by_default"], f["verdict"]) for one in seen for f in one["findings"]]
    return {
        "scripts": len(scripts), "seen": len(seen), "repositories": len({one["repo"] for one in seen}),
        "without_finding": sum(not any(f["on_by_default"] for f in one["findings"]) for one in seen),
        "left_out": sum(len(one.get("left_out", ())) for one in seen),
        "findings": dict(Counter(verdict for default, verdict in found if default)),
        "findings_of_rules_off_by_default": dict(Counter(verdict for default, verdict in found if not default)),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkouts", type=Path, required=True, help="holds OWNER/NAME")
    parser.add_argument("--data", type=Path, required=True, help="what compatibility_data.py made")
    parser.add_argument("--work", type=Path, required=True, help="a folder for copies of the checkouts")
    parser.add_argument("--packages", type=Path, default=Path(), help="as for compatibility.py")
    parser.add_argument("--only", nargs="*", default=list(REPOSITORIES))
    parser.add_argument("--match", default="", help="only scripts whose name holds this")
    parser.add_argument("--steps", type=int, default=14)
    parser.add_argument("--time-limit", type=float, default=90.0)
    options = parser.parse_args()
    for name in ("checkouts", "data", "work", "packages"):
        setattr(options, name, getattr(options, name).resolve())
    known = {(e["repo"], e["script"]) for e in entries(list(REPOSITORIES), "")}
    all_rules()  # is slow the first time, and must not be between reading the result and writing it
    for entry in entries(options.only, options.match):
        one = run(entry, options)
        print(f"{one['steps']:3d} {one['repo']}/{one['script']}  {one['error'] or ''}", flush=True)
        for f in one["findings"]:
            print(f"      {f['path']}:{f['line']} {f['code']} {f['severity']} {f['message']}", flush=True)
        for left_out in one.get("left_out", ()):
            print(f"      left out: {left_out['look']} ({left_out['error']})", flush=True)
        # Read again each time: other scripts may run at the same time.
        kept = {(k["repo"], k["script"]): k for k in (read_result("guard_public") or {}).get("scripts", [])}
        kept[entry["repo"], entry["script"]] = one
        scripts = judged([one for key, one in sorted(kept.items()) if key in known])
        write_result("guard_public", steps=options.steps, summary=summary(scripts), scripts=scripts)


if __name__ == "__main__":
    main()
