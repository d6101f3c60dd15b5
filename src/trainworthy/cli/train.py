"""Train a recipe: a model, its data and its losses, described in one file.

$ trainworthy train --list                                  the recipes that are included
$ trainworthy train digits                                  one of them, into runs/digits
$ trainworthy train digits model=resnet lr=0.01 train.epochs=5 --output runs/resnet
$ trainworthy train my_recipe.py train.batch_size=64        a recipe of your own
$ trainworthy train my_recipe.py:tiny --config runs/resnet/config.yaml
$ trainworthy train digits --dry-run --gpu h100-sxm-80gb    check, rehearse and estimate it; nothing is trained
$ trainworthy train digits --procs 4                        with four processes

Settings are key=value: those of the recipe, and train.KEY, which every run has (`trainworthy train RECIPE --settings`
lists both). Defaults give way to the recipe's own options, these to the file, and the file to the command line. The
run's folder holds config.yaml, recipe.py, environment.json, metrics.jsonl, checkpoints/ and the report. The same
command again goes on from the newest sound checkpoint; a folder of another run is never overwritten.

The exit code is 0; 1 if the stated quality is not met or the training failed; 2 for wrong use; 143 after a signal that
asked to stop: the state is saved, start it again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainworthy.cli.options import emit
from trainworthy.train.schema import ConfigError, shown, type_words

if TYPE_CHECKING:
    from trainworthy.train.config import Resolved


def run(parser: argparse.ArgumentParser, words: Sequence[str]) -> int:
    """Train, or say what would be trained."""
    _add_options(parser)
    options, unknown = parser.parse_known_intermixed_args(list(words))
    if unknown:
        raise ConfigError(_about_unknown(unknown[0]))
    if options.list:
        emit(_recipes(options.format), None)
        return 0
    if not options.words:
        parser.error("which RECIPE? `trainworthy train --list` names those that are included; or pass my_recipe.py")
    recipe, *settings = options.words
    if "=" in recipe:
        raise ConfigError(f"{recipe} comes before the recipe; the order is: trainworthy train RECIPE key=value.")
    if options.resume is not None:
        settings.append(f"train.resume={options.resume}")
    options.recipe, options.settings_given = recipe, settings
    if options.settings:
        emit(_settings(recipe, options.format), None)
        return 0
    from trainworthy._api.train import settle

    resolved = settle(recipe, settings, config=options.config)
    if options.dry_run:
        from trainworthy.cli.train_dry import dry_run

        return dry_run(resolved, options)
    return _train(resolved, options, words)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.usage = "trainworthy train [OPTIONS] RECIPE [key=value ...]"
    add = parser.add_argument
    add("words", nargs="*", metavar="RECIPE key=value", help="an included recipe, or my_recipe.py[:function]; settings")
    add("--list", action="store_true", help="name the included recipes and what each teaches")
    add("--settings", action="store_true", help="list the settings of RECIPE, their types and defaults")
    add("--config", metavar="FILE", help="YAML of settings, such as config.yaml of a run")
    add("--output", metavar="FOLDER", help="folder of the run (default: runs/RECIPE)")
    add(
        "--resume",
        metavar="WHAT",
        help="auto (default): go on from the newest sound checkpoint; never; or a checkpoint",
    )
    add("--procs", type=int, metavar="N", help="processes, started by torchrun (default: 1)")
    add("--max-restarts", type=int, default=3, metavar="N",
        help="with --procs: how often the processes are started again after one fails (default: 3)")  # fmt: skip
    add("--dry-run", action="store_true", help="check, rehearse on a virtual GPU and estimate; nothing is trained")
    add("--gpu", metavar="ID", help="with --dry-run: row of `trainworthy gpus`")
    add("--world-size", type=int, metavar="N", help="with --dry-run: GPUs of the virtual cluster")
    add("--gpus-per-node", type=int, metavar="M", help="with --dry-run: GPUs of one node")
    add("--time-limit", type=float, default=300.0, metavar="S", help="with --dry-run: of the rehearsal (default: 300)")
    add("--format", choices=("text", "json"), default="text", help="what is printed (default: text)")
    add("--exit-zero", action="store_true", help="leave with 0 where the code would be 1")


def _about_unknown(word: str) -> str:
    name = word.lstrip("-")
    if "=" in name:
        return f"{word} is no option; settings have no dashes: {name}."
    return f"{word} is no option; `trainworthy train --help` lists them, and settings are key=value."


def _train(resolved: Resolved, options: argparse.Namespace, words: Sequence[str]) -> int:
    from trainworthy._api.train import default_folder, is_main, train_resolved
    from trainworthy._api.train_utilisation import utilisation

    if options.procs is not None and options.procs < 1:
        raise ConfigError(f"--procs is {options.procs}; it must be at least 1.")
    output = options.output if options.output is not None else default_folder(resolved.source.name)
    from trainworthy.train.launch import is_worker, leave

    if options.procs is not None and options.procs > 1 and not is_worker():
        return _launch(resolved, options, Path(output))
    given = [options.recipe, *options.settings_given]
    speed = utilisation(resolved.recipe.options, given, config=options.config)
    result = train_resolved(resolved, output=output, words=words, speed=speed)
    if is_main():
        from trainworthy.report.train_report import render_run_json

        emit(str(result) if options.format == "text" else render_run_json(result.facts), None)
    code = 0 if options.exit_zero and result.exit_code == 1 else result.exit_code
    if is_worker():
        sys.stdout.flush()
        leave(code)
    return code


def _launch(resolved: Resolved, options: argparse.Namespace, folder: Path) -> int:
    """Start the processes; what is wrong with the folder is said once, before that."""
    from trainworthy.train.launch import launch
    from trainworthy.train.run_folder import check_folder

    check_folder(folder, resolved)
    argv = [
        sys.executable,
        "-m",
        "trainworthy",
        "train",
        options.recipe,
        *options.settings_given,
        "--output",
        str(folder),
    ]
    argv += ["--config", options.config] if options.config else []
    argv += ["--format", options.format] + ["--exit-zero"] * options.exit_zero
    return launch(argv, procs=options.procs, max_restarts=options.max_restarts)


def _recipes(form: str) -> str:
    from trainworthy.train.find_recipe import recipe_summaries

    found = recipe_summaries()
    if form == "json":
        return json.dumps([{"name": name, "teaches": text} for name, text in found.items()], indent=2)
    width = max(map(len, found), default=0)
    return "\n".join(f"{name:{width}}  {text}" for name, text in found.items())


def _settings(recipe: str, form: str) -> str:
    from trainworthy._api.need_torch import need_torch
    from trainworthy.train.find_recipe import find_recipe
    from trainworthy.train.schema import REQUIRED, options_settings

    need_torch("A recipe")
    rows = [
        (each.key, "required" if each.default is REQUIRED else shown(each.default), type_words(each.kind))
        for each in [*find_recipe(recipe).settings.values(), *options_settings().values()]
    ]
    if form == "json":
        return json.dumps([dict(zip(("key", "default", "type"), row, strict=True)) for row in rows], indent=2)
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"{key:{widths[0]}}  {default:{widths[1]}}  {kind}" for key, default, kind in rows)
