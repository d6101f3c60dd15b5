"""The child process of a rehearsal: ``python -m trainworthy.virtual.script JOB.json``.

Order matters. First nothing but the standard library; then effects (files, processes, network) are
redirected, so that whatever torch or the script captures at import is the redirected version; then
torch; then the virtual GPU; then the script.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainworthy.errors import TrainworthyError
from trainworthy.virtual.cluster import Cluster
from trainworthy.virtual.effects import Effects
from trainworthy.virtual.mailbox import Mailbox
from trainworthy.virtual.script_job import (
    FAULTS,
    PROGRESS,
    TAPE,
    Job,
    Outcome,
    load_job,
    make_error,
)

if TYPE_CHECKING:
    from trainworthy.virtual.gpu import VirtualGpu
    from trainworthy.virtual.session import Session

_exit = os._exit  # the real one: the script sees another


def main(argv: list[str]) -> None:
    """Run the job and leave; never returns, so that nothing of the script can hold the process."""
    job = load_job(argv[0])
    faults = (Path(job.scratch) / FAULTS).open("w", encoding="utf-8")
    faulthandler.enable(faults, all_threads=False)
    runner = Runner(job)
    try:
        runner.prepare()
        runner.run()
    except TrainworthyError as error:
        runner.end(make_error("usage", error.message, path=error.where, fix=error.fix))
    except BaseException as error:  # our own fault must also reach the parent
        runner.end(_internal(error))


class Runner:
    """Runs one job: prepares, watches the limits, and writes tape and outcome exactly once."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.pid = os.getpid()
        self.cluster = _cluster(job)
        self.effects = Effects(job.scratch, job.gpu, self.cluster)
        self.gpu: VirtualGpu | None = None
        self.session: Session | None = None
        self.findings: list[dict[str, Any]] = []
        self.notes: dict[str, Any] = {}
        self._started = time.monotonic()
        self._ending = threading.Lock()
        self._needs: int | None = None

    # --- before the script ------------------------------------------------------------------------

    def prepare(self) -> None:
        """Redirect effects, import torch, switch the virtual GPU on."""
        self.effects.install()
        _import_torch()
        from trainworthy.virtual import data, script_pretrained
        from trainworthy.virtual.script_load import load_program

        self._progress("loading")
        data.install(self.job.data, self.effects)
        script_pretrained.install(self.effects)
        self.program = load_program(self.job)

    def run(self) -> None:
        """Run the script on the virtual GPU and end the process."""
        from trainworthy.hardware import gpu_row
        from trainworthy.tape.source import SourceFinder
        from trainworthy.virtual import script_accelerate
        from trainworthy.virtual.gpu import VirtualGpu
        from trainworthy.virtual.session import Session

        finder = SourceFinder(self.program.roots, str(Path.cwd()))
        row = gpu_row(self.job.gpu) if self.job.gpu else None
        self.gpu = VirtualGpu(
            row, imitate_cpu=self.job.imitate_cpu, finder=finder, cluster=self.cluster, mailbox=self._mailbox()
        )
        self.session = Session(
            self.gpu, steps=self.job.steps, on_step=self._step, on_stuck=lambda: self.end(None),
            whole_evaluation=self.job.whole_evaluation, resize=self.job.resize, keep_shapes=self.job.keep_shapes,
        )  # fmt: skip
        script_accelerate.install(self.session)
        self._watch_limits()
        os._exit = self._script_exits  # type: ignore[assignment]
        with self.gpu, self.session.installed():
            error = self._run_program(self.session)
            self.end(error)

    def _run_program(self, session: Session) -> dict[str, Any] | None:
        from trainworthy.virtual.script_errors import describe_exception, print_traceback
        from trainworthy.virtual.script_step import run_steps
        from trainworthy.virtual.session import RehearsalComplete

        assert self.gpu is not None
        try:
            if self.program.function is not None:
                run_steps(self.program.function(), session)
            elif self.program.run is not None:
                self.program.run()
        except RehearsalComplete:
            return None
        except SystemExit as error:
            return self._system_exit(error)
        except BaseException as error:  # whatever the script raises is the answer
            print_traceback(error)
            described = describe_exception(error, self.gpu.recorder)
            if session.finishing:
                self.findings.append(_after_steps(described, session.completed))
                return None
            return described
        return None

    def _mailbox(self) -> Mailbox | None:
        if self.cluster is None or self.job.ranks_folder is None:
            return None
        return Mailbox(self.job.ranks_folder, self.cluster.rank, self._waits_for)

    def _waits_for(self, rank: int | None) -> None:
        """Say that this rank waits for a message of another, so that the other is rehearsed."""
        self._needs = rank
        self._progress("waiting" if rank is not None else "running")

    # --- limits -----------------------------------------------------------------------------------

    def _watch_limits(self) -> None:
        """End the script at its time limit: by a signal in its own thread, else by a thread."""
        self._started = time.monotonic()
        limit = self.job.time_limit_s
        signal.signal(signal.SIGALRM, lambda number, frame: self.end(self._timeout(frame)))
        signal.setitimer(signal.ITIMER_REAL, max(limit, 0.01))
        threading.Thread(target=self._watch, args=(threading.get_ident(),), daemon=True).start()

    def _watch(self, main_thread: int) -> None:
        while True:
            time.sleep(0.5)
            self._progress("running")
            if time.monotonic() - self._started > self.job.time_limit_s + 5:
                self.end(self._timeout(sys._current_frames().get(main_thread)))
            used, limit = resident_bytes(), self.job.memory_limit_bytes
            if limit is not None and used > limit:
                self.end(_too_much_memory(used, limit, self._place(sys._current_frames().get(main_thread))))

    def _timeout(self, frame: Any) -> dict[str, Any]:
        path, line = self._place(frame)
        done = self.session.completed if self.session else 0
        return make_error(
            "timeout",
            f"The script was stopped at its time limit of {self.job.time_limit_s:g} s, "
            f"after {done} of {self.job.steps} optimizer steps.",
            path=path, line=line,
            fix="Look at the line above; or raise --time-limit, or lower --steps.",
        )  # fmt: skip

    def _place(self, frame: Any) -> tuple[str | None, int | None]:
        """Return the user's innermost line of a running frame."""
        assert self.gpu is not None
        number, _ = self.gpu.recorder.finder.find(frame)
        source = self.gpu.recorder.finder.sources[number]
        return (source.path or None), (source.line or None)

    # --- the end ----------------------------------------------------------------------------------

    def _script_exits(self, code: int) -> None:
        """Stand in for ``os._exit``: write what there is, then do it."""
        if os.getpid() != self.pid:
            _exit(code)
        path, line = self._place(sys._getframe(1))
        error = None
        if not self.session or not self.session.finishing:
            error = make_error("exited", f"The script called os._exit({code}).", path=path, line=line)
        self.end(error)

    def _system_exit(self, error: SystemExit) -> dict[str, Any] | None:
        from trainworthy.virtual.script_errors import user_frame

        assert self.session is not None
        assert self.gpu is not None
        if error.code in (None, 0) or self.session.finishing:
            return None
        frame, line = user_frame(error.__traceback__, self.gpu.recorder)
        path = self.gpu.recorder.finder.relative(frame.f_code.co_filename) if frame else None
        text = str(error.code) if isinstance(error.code, str) else f"exit code {error.code}"
        fix = "Its own message is at the end of its output, below; its arguments go after its name."
        return make_error("exited", f"The script left with SystemExit: {text}.", path=path, line=line, fix=fix)

    def end(self, error: dict[str, Any] | None) -> None:
        """Write tape and outcome and end the process."""
        if os.getpid() != self.pid:  # a fork of the script came back here
            _exit(0)
        if not self._ending.acquire(blocking=False):
            time.sleep(60)  # another thread is writing; it ends the process
        signal.setitimer(signal.ITIMER_REAL, 0)
        if error is None and self.gpu is not None:
            self.gpu.recorder.steps.finish()
        steps = self.session.completed if self.session else 0
        if error is None and steps == 0:
            error = _no_step(self.gpu)
        outcome = Outcome(error=error, steps=steps)
        try:
            self._save_tape(outcome)
        except BaseException as fault:
            outcome.error = outcome.error or _internal(fault)
        outcome.save(self.job.scratch)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:  # a closed or replaced stream
                continue
        _exit(0)

    def _save_tape(self, outcome: Outcome) -> None:
        notes = outcome.notes
        notes.update(self.notes, seconds=time.monotonic() - self._started, effects=self.effects.listed())
        notes["evaluation_was_cut"] = self.session is not None and self.session.evaluation_was_cut
        notes["skipped_lines"] = self.program.skipped if hasattr(self, "program") else []
        if self.gpu is None:
            return
        tape = self.gpu.tape(host_peak_bytes=peak_resident_bytes())
        notes["findings"] = self.findings
        if self.cluster is not None:
            notes["stopped_at"] = self.session.stopped_at if self.session else None
            notes["ended_by"] = "rehearsal" if notes["stopped_at"] else "script"
        notes["assumptions"] = [*tape.notes.get("assumptions", []), *self.effects.assumptions()]
        tape.notes.update(notes, steps=outcome.steps, error=outcome.error, script=self.job.target)
        tape.save(Path(self.job.scratch) / TAPE)
        outcome.has_tape = True

    # --- progress ---------------------------------------------------------------------------------

    def _step(self, step: int) -> None:
        self._progress("running")

    def _progress(self, state: str) -> None:
        ops = len(self.gpu.recorder.ops) if self.gpu else 0
        done = self.session.completed if self.session else 0
        state = state if self._needs is None else "waiting"
        text = json.dumps({"state": state, "ops": ops, "steps": done, "needs": self._needs})
        path = Path(self.job.scratch) / PROGRESS
        partial = path.with_suffix(f".{threading.get_ident()}")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)


def _cluster(job: Job) -> Cluster | None:
    if job.world_size is None:
        return None
    return Cluster(
        world_size=job.world_size, gpus_per_node=job.gpus_per_node or min(job.world_size, 8), rank=job.rank
    )  # fmt: skip


def resident_bytes() -> int:
    """Return the memory this process holds now (Linux; 0 elsewhere)."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def peak_resident_bytes() -> int:
    """Return the most memory this process ever held."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _import_torch() -> None:
    from trainworthy.errors import MissingTorchError

    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingTorchError("Rehearsing a script") from error


def _no_step(gpu: VirtualGpu | None) -> dict[str, Any]:
    if gpu is not None and gpu.recorder.steps.trained:
        text, fix = (
            "The script ran a backward pass, but no optimizer ever stepped.",
            ("Call optimizer.step(); with accumulation, let the script see enough batches."),
        )
    else:
        text, fix = (
            "The script ended without a training step: no backward pass, no optimizer.step().",
            (
                'Does training hide behind a flag, or behind a function that nobody calls (if __name__ == "__main__")? '
                "Pass the script's own arguments after its name."
            ),
        )
    return make_error("no-step", text, fix=fix)


def _after_steps(error: dict[str, Any], steps: int) -> dict[str, Any]:
    return {
        "code": "TW302",
        "severity": "warning",
        "message": f"After {steps} steps, with its loops cut short, the script raised {error['message']}",
        "path": error["path"],
        "line": error["line"],
        "fix": "If this comes from the shortened loops, ignore it; else the real run ends here too.",
    }


def _too_much_memory(used: int, limit: int, place: tuple[str | None, int | None]) -> dict[str, Any]:
    from trainworthy.units import format_bytes

    return make_error(
        "host-memory",
        f"The script took {format_bytes(used)} of this machine's memory; the limit is {format_bytes(limit)}.",
        path=place[0], line=place[1],
        fix="Data sets are loaded as written: use a smaller one, --data, or raise --memory-limit.",
    )  # fmt: skip


def _internal(error: BaseException) -> dict[str, Any]:
    import traceback

    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return make_error("internal", f"trainworthy itself failed: {type(error).__name__}: {error}", trace=trace)


if __name__ == "__main__":
    main(sys.argv[1:])
