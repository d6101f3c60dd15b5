"""Where a number stopped being finite."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from trainworthy.check.finding import Place
from trainworthy.check.live.backward import BackwardWatch
from trainworthy.check.live.facts_steps import NonFinite
from trainworthy.check.live.operators import OperatorWatch, Record
from trainworthy.check.live.watch import Watch, read


class Births:
    """Looks through the readings of a step whose loss or gradients are not finite; once is enough."""

    def __init__(self, watch: Watch, operators: OperatorWatch, backward: BackwardWatch) -> None:
        self.watch = watch
        self.operators = operators
        self.backward = backward

    def look(self, losses: Sequence[tuple[Place, float]], bad_gradients: Sequence[str], place: Place) -> None:
        """Note the first operation whose result is not finite."""
        facts = self.watch.facts
        if facts.nonfinite:
            return
        bad = next(((at, value) for at, value in losses if not math.isfinite(value)), None)
        if bad is None and not bad_gradients:
            return
        birth = self._forward() if bad is not None else None
        if bad is not None:
            at, value = bad
            what: dict[str, Any] = {"what": "loss", "place": at, "value": _word(value)}
        else:
            names = ", ".join(bad_gradients[:3])
            what = {"what": "gradient", "place": place, "value": names}
            birth = self._backward()
        if birth is not None:
            what.update(birth)
        facts.nonfinite.append(NonFinite(step=self.watch.step, **what))

    def _forward(self) -> dict[str, Any] | None:
        records = self.operators.records
        values = read([r.reading for r in records])
        for wanted in (math.isnan, math.isinf):
            for record, value in zip(records, values, strict=True):
                if wanted(value) and not record.is_mask and (wanted is math.isnan or _finite_in(record, values)):
                    return self._birth(record, values)
        return None

    def _birth(self, record: Record, values: Sequence[float]) -> dict[str, Any]:
        name = self.watch.names.module(record.module) if record.module is not None else ""
        return {
            "op": record.op or None, "module": name, "place": self.watch.place_of(record.source),
            "op_inputs_finite": _finite_in(record, values),
        }  # fmt: skip

    def _backward(self) -> dict[str, Any] | None:
        for name, source, readings in self.backward.node_readings:
            if any(not math.isfinite(value) for value in read(readings)):
                place = {"place": self.watch.place_of(source)} if source else {}
                return {"op": name, "in_backward": True, **place}
        return None


def _finite_in(record: Record, values: Sequence[float]) -> bool:
    return all(math.isfinite(values[i]) for i in record.inputs)


def _word(value: float) -> str:
    return "NaN" if math.isnan(value) else ("inf" if value > 0 else "-inf")
