"""``trainworthy COMMAND``: finds the command and turns errors into one message and an exit code.

0 is fine; 1: the script, the run or the answer has a problem; 2: wrong use, or our own fault.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from trainworthy._version import __version__

# name -> what ``--help`` says; each lives in cli/<name>.py with add_arguments() and run().
COMMANDS = {
    "rehearse": "run an unmodified training script on a virtual GPU for a few steps",
    "inspect": "list the modules of a model: shapes, parameters, FLOPs",
    "check": "find mistakes that do not crash, by reading the source",
    "compare": "compare two results and fail on a regression",
    "train": "train a recipe: an included one, or a file of your own",
    "report": "render a saved tape again",
    "estimate": "say how long a training step takes, what it costs, why, and what would help",
    "explain": "show a rule or formula step by step, such as broadcasting or convolution",
    "gpus": "list the GPUs that there is data for",
    "calibrate": "measure this machine, so that estimates speak of it",
}
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with _terminated_in_order():
            return _run(words)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away: ``trainworthy ... | head``
        sys.stderr.close()
        return 1
    except Exception as error:
        from trainworthy.errors import TrainworthyError

        if not isinstance(error, TrainworthyError):
            raise
        print(f"trainworthy: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code


@contextmanager
def _terminated_in_order() -> Iterator[None]:
    """Leave by an exception when told to end, so that scripts we run end too and their folders are removed.

    Signals that somebody handles or ignores already, as ``nohup`` does, stay as they are.
    """
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    taken = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _leave)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _run(words: list[str]) -> int:
    if not words or words[0] not in COMMANDS:
        parser = _parser()
        options = parser.parse_args(words)  # --help and --version leave here; wrong words too
        parser.print_help()
        return 2 if options.command is None else 0
    name = words[0]
    module = import_module(f"trainworthy.cli.{name}")
    parser = argparse.ArgumentParser(
        prog=f"trainworthy {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    code: int = module.run(parser, words[1:])
    return code


def _parser() -> argparse.ArgumentParser:
    lines = "\n".join(f"  {name:10} {text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="trainworthy",
        usage="trainworthy COMMAND [OPTIONS] ...",
        description="Know a PyTorch training run before you pay for it.",
        epilog=f"commands:\n{lines}\n\ntrainworthy COMMAND --help says more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"trainworthy {__version__}")
    parser.add_argument("command", nargs="?", choices=COMMANDS, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
