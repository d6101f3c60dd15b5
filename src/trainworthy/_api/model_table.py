"""What ``trainworthy.inspect`` returns: the module table of one model. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from trainworthy.units import UNKNOWN, format_bytes

if TYPE_CHECKING:
    from trainworthy.inspect import ModuleRow, RehearsalResult
    from trainworthy.tape.record import ModuleInfo

COLUMNS = {
    "input_size": "Input Shape",
    "output_size": "Output Shape",
    "num_params": "Param #",
    "params_percent": "Param %",
    "kernel_size": "Kernel Shape",
    "mult_adds": "Mult-Adds",
    "flops_backward": "FLOPs backward",
    "activation_bytes": "Saved",
    "trainable": "Trainable",
}


class ModelTable:
    """Modules of a model with their shapes, parameters and cost; ``print`` it or show it in a notebook.

    Attributes:
        result: Everything that is known, as ``trainworthy.rehearse`` returns it.
    """

    def __init__(
        self, result: RehearsalResult, *, name: str, columns: tuple[str, ...], depth: int,
        input_shapes: dict[str, tuple[int, ...]], rows: tuple[str, ...] = ("depth",),
    ) -> None:  # fmt: skip
        self.result = result
        self.name = name
        self._columns = columns
        self._depth = depth
        self._rows = rows
        self._inputs = input_shapes
        self._infos = {info.template.format(*info.first): info for info in result.tape.model}

    @property
    def total_params(self) -> int:
        """Parameters; one that is shared counts once."""
        return self.result.parameters or 0

    @property
    def trainable_params(self) -> int:
        """Parameters that require a gradient."""
        return self.result.trainable_parameters or 0

    @property
    def total_mult_adds(self) -> int:
        """Multiply-adds of the forward pass."""
        return sum(top.amounts.flops_forward for top in self.result.modules) // 2

    def to_dict(self) -> dict[str, Any]:
        """Return totals and rows as plain data."""
        return {
            "model": self.name,
            "total_params": self.total_params,
            "trainable_params": self.trainable_params,
            "total_mult_adds": self.total_mult_adds,
            "unknown_flop_ops": self.result.unknown_flop_ops,
            "modules": [row.to_dict() for top in self.result.modules for row in top.walk()],
        }

    def __str__(self) -> str:
        """Return the table and the totals as lines of text."""
        lines = [("Layer (type)", *(COLUMNS[name] for name in self._columns))]
        lines += [self._line(row) for row in self._shown()]
        widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
        text = [
            "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))])
            for line in lines
        ]
        rule = "─" * max(map(len, text))
        return "\n".join([rule, text[0], rule, *text[1:], rule, *self._totals(), rule])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.result._repr_html_()

    def _shown(self) -> Iterator[ModuleRow]:
        for top in self.result.modules:
            for row in top.walk():
                if row.depth <= self._depth and row.class_name:
                    yield row

    def _line(self, row: ModuleRow) -> tuple[str, ...]:
        times = f" x{row.count}" if row.count > 1 else ""
        name = f"{row.class_name}: {row.name}" if row.name != row.class_name else row.name
        if "var_names" in self._rows:
            name = f"{row.class_name} ({row.name})"
        return ("  " * row.depth + name + times, *(self._cell(row, column) for column in self._columns))

    def _cell(self, row: ModuleRow, column: str) -> str:
        amounts = row.amounts
        first = row.path.replace("..", "\0").split("\0")[0].replace("[", "").replace("]", "")
        match column:
            case "input_size":
                return _shape(self._inputs.get("" if row.depth == 0 else first))
            case "output_size":
                return _shape(row.output_shape)
            case "num_params":
                return f"{row.parameters:,}" if row.parameters else "tied" if row.tied_parameters else UNKNOWN
            case "params_percent":
                return f"{100 * row.parameters / self.total_params:.2f}%" if self.total_params else UNKNOWN
            case "kernel_size":
                return _kernel(self._infos.get(first))
            case "mult_adds":
                return f"{amounts.flops_forward // 2:,}" if amounts.flops_forward else UNKNOWN
            case "flops_backward":
                return f"{amounts.flops_backward:,}" if amounts.flops_backward else UNKNOWN
            case "activation_bytes":
                return format_bytes(amounts.activation_bytes) if amounts.activation_bytes else UNKNOWN
            case _:
                return _trainable(row)

    def _totals(self) -> list[str]:
        frozen = self.total_params - self.trainable_params
        lines = [
            f"Total params: {self.total_params:,}   Trainable: {self.trainable_params:,}   Frozen: {frozen:,}",
            f"Total mult-adds (forward): {self.total_mult_adds:,}",
            f"Parameters: {format_bytes(self.result.parameter_bytes)}   "
            f"Peak of forward and backward: {format_bytes(self.result.peak_memory_bytes)}",
        ]
        if self.result.unknown_flop_ops:
            lines.append(f"Operations without a FLOP formula: {', '.join(sorted(self.result.unknown_flop_ops))}")
        return lines


def _shape(shape: tuple[int, ...] | None) -> str:
    return UNKNOWN if shape is None else f"[{', '.join(map(str, shape))}]"


def _kernel(info: ModuleInfo | None) -> str:
    size = info.details.get("kernel_size") if info is not None else None
    if isinstance(size, int):
        size = (size,)
    return f"[{', '.join(map(str, size))}]" if size else UNKNOWN


def _trainable(row: ModuleRow) -> str:
    if not row.parameters:
        return UNKNOWN
    if row.trainable_parameters == row.parameters:
        return "True"
    return "Partial" if row.trainable_parameters else "False"
