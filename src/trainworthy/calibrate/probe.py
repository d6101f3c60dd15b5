"""A probe is a call of one operator; what it is on a tape says which curve it is a point of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from trainworthy.estimate.op_classes import op_class
from trainworthy.tape.record import Signature

Call = Callable[[], Any]


class Measured(NamedTuple):
    """An operator's signature and its median time."""

    signature: Signature
    time_s: float


def probe_signature(call: Call) -> Signature:
    """Return what a tape records of ``call``: the one operation in it that does something.

    Copies that an operator needs for itself (cuDNN's recurrent layers want dense gradients) belong to it.

    Raises:
        ValueError: If there is none, or more than one: a bug in the probe.
    """
    from trainworthy.tape.recorder import Recorder

    with Recorder() as recorder:
        call()
    found = [recorder.signatures[op.signature] for op in recorder.ops]
    working = [signature for signature in found if op_class(signature.name) != "view"]
    if len(working) > 1:
        working = [signature for signature in working if op_class(signature.name) not in {"copy", "fill"}]
    if len(working) != 1:
        raise ValueError(f"a probe has to run one operation; this one ran {[s.name for s in working]}")
    return working[0]
