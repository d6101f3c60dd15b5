"""Run an unmodified training script on a virtual GPU for a few optimizer steps.

$ trainworthy rehearse [OPTIONS] SCRIPT [SCRIPT ARGS...]
$ trainworthy rehearse [OPTIONS] -m MODULE [SCRIPT ARGS...]
$ trainworthy rehearse [OPTIONS] package.module:function
$ trainworthy rehearse [OPTIONS] notebook.ipynb
$ trainworthy rehearse --world-size 64 --gpus-per-node 8 [OPTIONS] SCRIPT [SCRIPT ARGS...]

Everything after the script is the script's own. Nothing it does has an effect outside: files it
writes go to a scratch folder, programs are not started, there is no network.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trainworthy.cli.options import add_output_options, emit, size, write_file
from trainworthy.cli.progress import ProgressLine
from trainworthy.cli.rendering import add_file_options, for_rank, render, write_files
from trainworthy.errors import UsageError

if TYPE_CHECKING:
    from trainworthy.inspect import RehearsalResult
    from trainworthy.virtual.script_parent import Log


def run(parser: argparse.ArgumentParser, words: Sequence[str]) -> int:
    """Rehearse on each GPU asked for, render, and return 0 if everything fits."""
    _add_options(parser)
    ours, target, args = split_words(parser, words)
    options = parser.parse_args(ours)
    if target is None:
        parser.error("which script? Pass a file, -m MODULE or package.module:function")
    request = Request(options, target, tuple(args))
    if options.find_largest_batch is not None:
        from trainworthy.cli.largest_batch import find_largest_batch

        return find_largest_batch(request)
    results = [request.rehearse(gpu) for gpu in request.gpus]
    write_files(results, options)
    emit(render(results, options.format), options.output)
    good = all(result.verdict == "fits" and not has_errors(result) for result in results)
    return 0 if good or options.exit_zero else 1


def has_errors(result: RehearsalResult) -> bool:
    """Whether a finding is sure to break the run."""
    return any(finding.get("severity") == "error" for finding in result.findings)


class Request:
    """What the command line asked for; rehearses it on one GPU at a time."""

    def __init__(self, options: argparse.Namespace, target: str, args: tuple[str, ...]) -> None:
        self.options = options
        self.target = target
        self.args = args
        self.gpus: list[str | None] = _gpus(options.gpu)
        self.rank: int | None = options.rank
        self.imitate_cpu = False

    def rehearse(self, gpu: str | None, args: tuple[str, ...] | None = None) -> RehearsalResult:
        """Rehearse on ``gpu`` and show progress on a terminal."""
        from trainworthy._api.rehearse import rehearse

        options = self.options
        with ProgressLine(label=gpu or "virtual GPU") as line:
            return rehearse(
                self.target, gpu=gpu, args=self.args if args is None else args, steps=options.steps,
                time_limit_s=options.time_limit, memory_limit_bytes=options.memory_limit,
                data=options.data, is_module=options.module is not None, world_size=options.world_size,
                gpus_per_node=options.gpus_per_node, rank=self.rank,
                ranks=options.ranks if self.rank is None or options.rank is not None else None,
                imitate_cpu=self.imitate_cpu,
                on_progress=line.show, on_log=self._keep_log,
            )  # fmt: skip

    def _keep_log(self, log: Log) -> None:
        path = self.options.log
        if path and (log.rank is None or self.rank is not None):
            write_file(path, log.text())
        elif path:
            write_file(for_rank(path, log.rank or 0), log.text())


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.usage = "trainworthy rehearse [OPTIONS] (SCRIPT | -m MODULE | module:function) [SCRIPT ARGS...]"
    add = parser.add_argument
    add("-m", dest="module", metavar="MODULE", help="run a module, as python -m does")
    add("--gpu", metavar="ID[,ID...]", help="row of `trainworthy gpus`; several are shown side by side")
    add("--steps", type=int, default=2, metavar="N", help="optimizer steps to see (default: 2)")
    add("--time-limit", type=float, default=300.0, metavar="S",
        help="stop the script after S seconds and report what was seen (default: 300)")  # fmt: skip
    add("--memory-limit", type=size, metavar="SIZE",
        help="most memory of this machine, such as 8GiB (default: nine tenths of what is free)")  # fmt: skip
    add("--data", metavar="SPEC",
        help='shapes instead of a data set that is not here: "float32[3,224,224], int64[]<1000"')  # fmt: skip
    add("--world-size", type=int, metavar="N", help="run as a rank of N, as torchrun and SLURM would start it")
    add("--gpus-per-node", type=int, metavar="M", help="ranks of one node (default: 8, or all of a smaller world)")
    add("--rank", type=int, metavar="R", help="rehearse rank R only")
    add("--ranks", metavar="WHICH",
        help="ranks to rehearse and compare: distinct (default: those that can differ), all, or 0,3,8-15")  # fmt: skip
    add("--find-largest-batch", nargs="?", const="", metavar="OPTION",
        help="find the largest batch that fits; OPTION is the script's own (default: found by name)")  # fmt: skip
    add_output_options(parser)
    add_file_options(parser)
    add("--log", metavar="PATH", help="also write what the script printed")
    add("--exit-zero", action="store_true", help="leave with 0 whatever the answer is")


def split_words(parser: argparse.ArgumentParser, words: Sequence[str]) -> tuple[list[str], str | None, list[str]]:
    """Split the command line where the script begins: ours, the script, the script's own words."""
    actions = parser._option_string_actions
    at = 0
    while at < len(words):
        word = words[at]
        if word == "--":
            rest = list(words[at + 1 :])
            return list(words[:at]), rest[0] if rest else None, rest[1:]
        if not word.startswith("-") or word == "-":
            return list(words[:at]), word, list(words[at + 1 :])
        action = actions.get(word)
        takes_value = action is not None and action.nargs is None
        if action is not None and action.nargs == "?":
            takes_value = at + 1 < len(words) and _is_option_name(words[at + 1])
        if word == "-m" and at + 1 < len(words):
            return list(words[: at + 2]), words[at + 1], list(words[at + 2 :])
        at += 2 if takes_value else 1
    return list(words), None, []


def _is_option_name(word: str) -> bool:
    """Tell ``--find-largest-batch batch_size`` from ``--find-largest-batch train.py``; as argparse, no dashes."""
    return not word.startswith("-") and not word.endswith((".py", ".ipynb")) and not re.search(r"[:/]", word)


def _gpus(text: str | None) -> list[str | None]:
    if text is None:
        return [None]
    from trainworthy.hardware import gpu_row

    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UsageError("--gpu names no GPU.", where="--gpu", fix="`trainworthy gpus` lists them.")
    return [gpu_row(name).id for name in names]
