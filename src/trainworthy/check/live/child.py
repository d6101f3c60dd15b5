"""The child process of ``check --live``: ``python -m trainworthy.check.live.child JOB.json``.

The script runs for real, on real data and the real device, under the guard, until the window is over. What it does to
files, programs and the network stays inside, as in a rehearsal (see ``virtual/effects.py``); processes that DataLoaders
start are real.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import threading
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainworthy.check.finding import Place
from trainworthy.virtual.effects import Effects
from trainworthy.virtual.script_job import FAULTS, PROGRESS, Job, Outcome, load_job, make_error

if TYPE_CHECKING:
    from trainworthy.check.live.facts import LiveFacts
    from trainworthy.check.live.guard import Guard
    from trainworthy.virtual.script_load import Program

_EVALUATION_S = 10.0  # for what evaluates after the steps, beside its loaders
_exit = os._exit


class WindowOver(BaseException):
    """The guard has seen its steps; no ``except Exception`` of the script is to catch it."""


class TimeOver(BaseException):
    """The time limit is over."""


def main(argv: list[str]) -> None:
    """Run the job and leave; never returns."""
    job = load_job(argv[0])
    faulthandler.enable((Path(job.scratch) / FAULTS).open("w", encoding="utf-8"), all_threads=False)
    effects = Effects(job.scratch)
    effects.install()
    try:
        outcome = _run(job)
    except BaseException as error:  # our own fault must also reach the parent
        outcome = Outcome(error=make_error("internal", f"trainworthy itself failed: {error!r}", trace=_trace(error)))
    outcome.notes["effects"] = effects.listed()
    outcome.save(job.scratch)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    _exit(0)


def _run(job: Job) -> Outcome:
    from trainworthy.check.live.guard import Guard
    from trainworthy.virtual.script_load import load_program

    program = load_program(job)
    running = {"state": "running", "ops": 0, "steps": 0, "needs": None}
    Path(job.scratch, PROGRESS).write_text(json.dumps(running), encoding="utf-8")
    guard = Guard(
        steps=job.steps, roots=program.roots, home=Place(job.target, 1), off_rules_too=True, from_first_line=True,
        evaluation_too=True,
    )  # fmt: skip
    guard.on_window_end = _stop
    guard.on_closing = _hurry
    error = _watched(program, guard, job.time_limit_s)
    guard.close()
    facts, left_out = guard.facts, [asdict(one) for one in guard.left_out]
    if guard.is_closing and error is not None:  # it may have come of loaders that ended early
        left_out.append({"look": "the evaluation after the steps", "error": error["message"].split("\n")[0]})
        error = None
    error = _own_fault(guard) or error or _nothing_seen(facts)
    return Outcome(
        error=error, steps=facts.num_steps,
        notes={"findings": [f.to_dict() for f in guard.findings], "seconds": facts.seconds,
               "backwards": len(facts.backwards), "left_out": left_out},
    )  # fmt: skip


def _watched(program: Program, guard: Guard, limit_s: float) -> dict[str, Any] | None:
    """Run a program under the guard; return how it failed, if it did."""
    error = None
    _watch_time(limit_s)
    try:
        with guard:
            if program.function is not None:
                program.function()()
            elif program.run is not None:
                program.run()
    except WindowOver:
        pass
    except TimeOver:
        error = make_error("timeout", f"The script was stopped at its time limit of {limit_s:g} s.")
    except SystemExit as left:
        if left.code not in (None, 0):
            error = make_error("exited", f"The script left with SystemExit: {left.code}.")
    except BaseException as raised:  # whatever the script raises is the answer
        traceback.print_exc()
        error = _describe(raised, program.roots)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return error


def _own_fault(guard: Guard) -> dict[str, Any] | None:
    if not guard.failed:
        return None
    looks = ", ".join(f"{one.look}: {one.error}" for one in guard.left_out)
    return make_error("internal", f"The guard itself failed, and concludes nothing: {looks}")


def _nothing_seen(facts: LiveFacts) -> dict[str, Any] | None:
    if facts.num_steps or facts.backwards or facts.forwards:
        return None
    return make_error("no-step", "The script ended without a training step, and no model was called.")


def _stop() -> None:
    if threading.current_thread() is threading.main_thread():
        raise WindowOver


def _hurry() -> None:
    """Leave little time to what comes after the steps."""
    if threading.current_thread() is threading.main_thread():  # which alone may set a timer
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        _watch_time(min(_EVALUATION_S, left), WindowOver)


def _watch_time(limit_s: float, error: type[BaseException] = TimeOver) -> None:
    def over(number: int, frame: Any) -> None:
        raise error

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, max(limit_s, 0.01))


def _describe(error: BaseException, roots: tuple[str, ...]) -> dict[str, Any]:
    """Describe what the script raised, at the user's innermost line rather than at that of a library."""
    from trainworthy.tape.source import SourceFinder
    from trainworthy.virtual.script_errors import describe_exception

    found, finder, trace = describe_exception(error, None), SourceFinder(roots), error.__traceback__
    while trace is not None and not isinstance(error, SyntaxError):
        if finder.is_user(trace.tb_frame.f_code):
            found.update(path=finder.relative(trace.tb_frame.f_code.co_filename), line=trace.tb_lineno)
        trace = trace.tb_next
    return found


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


if __name__ == "__main__":
    main(sys.argv[1:])
