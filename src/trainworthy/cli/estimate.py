"""Say how long a training step takes, what it needs and costs, why, and what would help.

$ trainworthy estimate [OPTIONS] SCRIPT [SCRIPT ARGS...]      rehearse the script, then estimate its step
$ trainworthy estimate --world-size 64 [OPTIONS] SCRIPT ...   on a cluster
$ trainworthy estimate --tape FILE [OPTIONS]                  from a tape that `rehearse --tape` wrote
$ trainworthy estimate --model llama3-8b --world-size 64 ...  from sizes and a layout, without a script
$ trainworthy estimate --runs FILE.csv --output OUT.csv       a table of runs, row by row

Everything after the script is the script's own. Times come from a model of the hardware (`trainworthy gpus`) or,
better, from a calibration of the machine (`trainworthy calibrate`). Figures have a low, an expected and a high value.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING

from trainworthy.cli.options import add_output_options, emit, size, write_file
from trainworthy.errors import UsageError

if TYPE_CHECKING:
    from trainworthy.estimate.amounts import Amounts
    from trainworthy.estimate.result import Estimate

DEFAULT_GPU = "h100-sxm-80gb"


def run(parser: argparse.ArgumentParser, words: Sequence[str]) -> int:
    """Estimate, render, and return 0 if it fits."""
    from trainworthy.cli.rehearse import split_words

    _add_options(parser)
    ours, target, args = split_words(parser, words)
    options = parser.parse_args(ours)
    sources = {"--model": options.model, "--runs": options.runs, "--tape": options.tape, "a script": target}
    given = [name for name, value in sources.items() if value]
    if len(given) != 1:
        said = f"Both {' and '.join(given)} are given" if given else "Nothing is given to estimate"
        raise UsageError(
            f"{said}.", where="estimate", fix="Pass one of: a script, --tape FILE, --model NAME, --runs FILE.csv."
        )
    if options.model or options.runs:
        from trainworthy.cli.estimate_runs import estimate_model, estimate_runs

        return estimate_runs(options) if options.runs else estimate_model(options)
    from trainworthy.cli.estimate_script import estimate_script, estimate_tape_files

    estimates = estimate_tape_files(options) if options.tape else estimate_script(options, str(target), tuple(args))
    return finish(estimates, options)


def amounts_of(options: argparse.Namespace) -> Amounts:
    """Read the amounts, refusing what cannot be."""
    from trainworthy.estimate.amounts import Amounts, check_amounts

    amounts = Amounts(
        samples_per_step=options.samples_per_step, tokens_per_step=options.tokens_per_step,
        data_s_per_batch=options.data_s_per_batch, workers=options.workers, price_per_hour=options.price_per_hour,
        train_steps=options.train_steps, train_samples=options.samples, train_tokens=options.tokens,
        epochs=options.epochs,
    )  # fmt: skip
    check_amounts(amounts)
    return amounts


def finish(estimates: Sequence[Estimate], options: argparse.Namespace) -> int:
    """Write what was asked for and return the exit code."""
    from trainworthy.report.estimate_text import render_estimate_text

    if options.html:
        write_file(options.html, _html(estimates))
    if options.json:
        write_file(options.json, _json(estimates))
    renderers = {"text": render_estimate_text, "json": _json, "html": _html}
    emit(renderers[options.format](estimates), options.output)
    good = all(each.error is None and each.fits != "no" for each in estimates)
    return 0 if good or options.exit_zero else 1


def _json(estimates: Sequence[Estimate]) -> str:
    from trainworthy.report.estimate_json import render_estimate_json

    return render_estimate_json(estimates)


def _html(estimates: Sequence[Estimate]) -> str:
    from trainworthy.report.estimate_html import render_estimate_html

    return render_estimate_html(estimates)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "trainworthy estimate [OPTIONS] (SCRIPT | -m MODULE | module:function) [SCRIPT ARGS...]\n"
        "       trainworthy estimate [OPTIONS] (--tape FILE | --model NAME | --runs FILE.csv)"
    )
    _add_what(parser)
    _add_cluster(parser)
    _add_amounts(parser)
    _add_rehearsal(parser)
    _add_layout(parser)
    add_output_options(parser)
    add = parser.add_argument
    add("--html", metavar="PATH", help="also write one self-contained page")
    add("--json", metavar="PATH", help="also write the estimate as JSON")
    add("--log", metavar="PATH", help="also write what the script printed")
    add("--exit-zero", action="store_true", help="leave with 0 whatever the answer is")


def _add_what(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("what, and on which machine").add_argument
    add("-m", dest="module", metavar="MODULE", help="run a module, as python -m does")
    add("--tape", metavar="FILE", action="append", help="a tape instead of a script; once for each rank of a cluster")
    add("--model", metavar="NAME", help="a transcribed model, or a Hugging Face config.json on disk")
    add("--runs", metavar="FILE.csv", help="a table of training runs; --output is written with predictions added")
    add("--gpu", metavar="ID[,ID...]",
        help="row of `trainworthy gpus`, `this` or `cpu` (this machine, calibrated), or a CPU row (default: the "
        f"tape's, or {DEFAULT_GPU})")  # fmt: skip
    add("--mode", choices=("eager", "compiled"), help="default: compiled if the script asks for torch.compile")
    add("--what-ifs", choices=("rehearsed", "tape", "none"), default="rehearsed",
        help="rehearsed: a larger batch is rehearsed too, where the script has an option for it (default); tape: only "
        "changes of the tape; none")  # fmt: skip


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("cluster").add_argument
    add("--world-size", type=int, metavar="N", help="GPUs of the run")
    add("--gpus-per-node", type=int, metavar="M", help="GPUs of one node (default: 8, or all of a smaller world)")
    add("--rank", type=int, metavar="R", help="rehearse rank R only")
    add("--ranks", metavar="WHICH", help="ranks to rehearse: distinct (default), all, or 0,3,8-15")
    add("--link", metavar="ID", help="link between the GPUs of a node (default: the GPU's own)")
    add(
        "--network-gbit-s",
        type=float,
        metavar="X",
        help="what one GPU has to other nodes, one direction (default: a port of the vendor's reference system)",
    )


def _add_amounts(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("amounts").add_argument
    add("--samples-per-step", type=number, metavar="N", help="over all ranks (default: what the rehearsal saw)")
    add("--tokens-per-step", type=number, metavar="N", help="over all ranks (default: what the rehearsal saw)")
    add("--data-s-per-batch", type=number, metavar="S", help="to load a batch (default: measured during the rehearsal)")
    add("--workers", type=int, metavar="N", help="processes that load batches (default: the script's own)")
    add("--price-per-hour", type=number, metavar="X", help="of one GPU, in your currency")
    add("--tokens", type=number, metavar="N", help="of the whole training, such as 1e12: its time, energy and money")
    add("--samples", type=number, metavar="N", help="or its samples")
    add("--train-steps", type=number, metavar="N", help="or its optimizer steps")
    add("--epochs", type=number, metavar="N", help="or its epochs")


def _add_rehearsal(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("rehearsal").add_argument
    add("--steps", type=int, default=2, metavar="N", help="optimizer steps to rehearse (default: 2)")
    add("--time-limit", type=float, default=300.0, metavar="S", help="stop the script after S seconds (default: 300)")
    add("--memory-limit", type=size, metavar="SIZE", help="most memory of this machine, such as 8GiB")
    add("--data", metavar="SPEC", help='shapes instead of a data set: "float32[3,224,224], int64[]<1000"')
    add("--find-largest-batch", nargs="?", const="", metavar="OPTION",
        help="rehearse until the largest batch that fits is known; OPTION is the script's own")  # fmt: skip
    add("--find-longest-sequence", metavar="OPTION", help="the same for the script's option for the sequence length")


def _add_layout(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("layout of --model").add_argument
    add("--seq-len", type=int, metavar="N", help="tokens of a sequence")
    add("--global-batch", type=int, metavar="N", help="sequences of a step, over all GPUs")
    add("--micro-batch", type=int, default=1, metavar="N", help="sequences that a GPU runs at once (default: 1)")
    for name, what in (
        ("tp", "tensor parallel"), ("pp", "pipeline stages"), ("cp", "context parallel"), ("ep", "expert parallel"),
    ):  # fmt: skip
        add(f"--{name}", type=int, default=1, metavar="N", help=f"degree: {what} (default: 1)")
    add("--interleave", type=int, default=1, metavar="N", help="model chunks of a pipeline stage (default: 1)")
    add("--zero-stage", type=int, choices=(0, 1, 2, 3), help="sharding over the data parallel ranks; 3: FSDP")
    add("--checkpointing", choices=("none", "selective", "full"), default="none", help="default: none")
    add("--precision", metavar="TYPE", default="bf16", help="bf16 (default), fp16, fp32, tf32, fp8")
    add(
        "--optimizer", metavar="NAME", help="whose states are kept: adamw (default), sgd-momentum, adam-8bit, lion, ..."
    )
    add("--stack", metavar="NAME", help="training software whose constants are used")


def number(text: str) -> float:
    """Read a number such as 1e12 for argparse; negative and absurd ones are refused later, with their option."""
    try:
        value = float(text.replace("_", ""))
    except ValueError:
        raise argparse.ArgumentTypeError(f"not a number: {text!r}") from None
    if not isfinite(value):
        raise argparse.ArgumentTypeError(f"not a finite number: {text!r}")
    return value
