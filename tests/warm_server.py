"""The server of ``warm.py``: imports torch and what a rehearsal needs, then forks a child for each request.

Between the server and a child stands a process that waits for the child and says how it ended.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import tempfile
from typing import Any

# What ``trainworthy.virtual.script`` imports, in any order; itself it is run anew.
_ALONE = [
    "torch",
    "numpy",
    "trainworthy.hardware",
    "trainworthy.tape.file",
    "trainworthy.virtual.data",
    "trainworthy.virtual.gpu",
    "trainworthy.virtual.script_accelerate",
    "trainworthy.virtual.script_errors",
    "trainworthy.virtual.script_load",
    "trainworthy.virtual.script_pretrained",
    "trainworthy.virtual.script_step",
    "trainworthy.virtual.session",
]
# With "parallel" also what scripts of many ranks and this package's own recipes import.
_PRELOADED = {
    "alone": _ALONE,
    "parallel": [
        *_ALONE,
        "sklearn.datasets",
        "torch._dynamo",
        "torch.distributed.checkpoint.state_dict",
        "torch.distributed.fsdp",
        "torch.distributed.optim",
        "torch.distributed.pipelining",
        "torch.distributed.tensor.parallel",
        "trainworthy.cli.train",
        "trainworthy.train.engine",
    ],
}


def main(kind: str) -> None:
    """Answer requests on the socket that is standard input, until it is closed."""
    for name in _PRELOADED[kind]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a child need not look through all of torch
    signal.signal(signal.SIGCHLD, _reap)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=0) as requests:
        while True:
            head, files, _, _ = socket.recv_fds(requests, 4, 2)
            if not head:
                return
            request = json.loads(_read(requests, int.from_bytes(head, "big")))
            if os.fork() == 0:
                _begin(request, *files)
            for file in files:
                os.close(file)


def _read(requests: socket.socket, size: int) -> bytes:
    text = b""
    while len(text) < size:
        text += requests.recv(size - len(text))
    return text


def _reap(*_: Any) -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _begin(request: dict[str, Any], out: int, status: int) -> None:
    """Fork the child, wait for it and say its code; never returns."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        child = os.fork()
        if child == 0:
            _run(request, out, status)
        os.close(out)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        os.write(status, b"%d\n" % code)
        os._exit(0)


def _run(request: dict[str, Any], out: int, status: int) -> None:
    """Become what ``python -m MODULE`` would be, in a session of its own; never returns."""
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.write(status, b"%d\n" % os.getpid())
        os.close(out)
        os.close(status)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["env"])
        added = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in sys.path]
        sys.path[:] = [request["folder"], *added, *sys.path[1:]]
        tempfile.tempdir = None
        sys.modules["numpy"].random.seed()  # as every new process does; ``random`` sees to itself
        sys.modules["torch"].default_generator.seed()
        sys.argv = ["-m", *request["args"]]
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    finally:
        os._exit(1)  # a rehearsal ends its process itself


if __name__ == "__main__":
    main(sys.argv[1])
