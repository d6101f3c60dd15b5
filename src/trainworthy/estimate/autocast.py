"""A tape recorded in float32 as it would be under 16-bit autocast.

Types follow the data as PyTorch's autocast lists say: products, convolutions, attention and recurrent layers take and
give 16 bits, and what they are given in 32 is cast first; normalisation over layers and groups, softmax, losses and
sums compute and give 32; everything else gives 16 bits if all that it reads has 16. Storages shrink with their type.
The optimizer is left as it is.

Source: torch/amp/autocast_mode.py and aten/src/ATen/autocast_mode.h (torch 2.13): lower-precision and float32 lists.
"""

from __future__ import annotations

from trainworthy.estimate.metas import scaled_traffic, touched_bytes
from trainworthy.estimate.op_classes import base_name, op_class
from trainworthy.estimate.rewrite import NewLeaf, Numbers, Rows, Site, each_leaf, rewrite
from trainworthy.tape.record import PHASES, Row, Signature, Tape, TensorMeta

__all__ = ["with_autocast"]

_LOWER = frozenset(
    {"gemm", "conv_forward", "conv_backward", "attention_forward", "attention_backward", "rnn_forward", "rnn_backward"}
)
_FLOAT32 = frozenset({"softmax", "loss"})
_FLOAT32_NAMES = frozenset(
    (
        "native_layer_norm", "native_group_norm", "_fused_rms_norm", "sum", "prod", "cumsum", "exp", "expm1", "log",
        "log2", "log10", "log1p", "pow", "rsqrt", "reciprocal", "norm", "linalg_vector_norm", "cosh", "sinh", "tan",
        "acos", "asin", "erfinv",
    )
)  # fmt: skip
_STAYS = frozenset({"parameter", "buffer", "gradient", "optimizer_state"})
_PHASES = frozenset(PHASES.index(phase) for phase in ("forward", "loss", "recompute", "backward"))
_CASTS = frozenset(PHASES.index(phase) for phase in ("forward", "loss", "recompute"))


def with_autocast(tape: Tape, dtype: str = "bfloat16") -> Tape:
    """Return the tape under autocast to ``dtype``."""
    return rewrite(tape, each_leaf(_Autocast(dtype).change))


class _Autocast:
    """Follows types from storage to storage, in the order of the tape."""

    def __init__(self, dtype: str) -> None:
        self._dtype = dtype
        self._lowered: set[int] = set()
        self._cast: set[int] = set()
        self._classes: dict[int, int] = {}  # storage -> its new class

    def change(self, site: Site) -> list[NewLeaf]:
        """Give one operation its types."""
        row, signature, numbers = site.row, site.signature, site.numbers
        if row.phase not in _PHASES:
            self._cast.clear()
            return [self._replaced(site, signature, numbers)]
        lower = op_class(signature.name) in _LOWER
        casts = self._casts(site, numbers) if lower and row.phase in _CASTS else []
        inputs = [
            self._lower(meta) if lower or number in self._lowered else meta
            for meta, number in zip(signature.inputs, numbers.inputs, strict=True)
        ]
        outputs, cast_back = self._outputs(site, numbers, gives_low=lower or self._follows(signature, numbers))
        changed = scaled_traffic(signature, inputs, outputs)
        return [*casts, self._replaced(site, changed, numbers), *cast_back]

    def _outputs(self, site: Site, numbers: Numbers, *, gives_low: bool) -> tuple[list[TensorMeta], list[NewLeaf]]:
        """Return the results, and casts of gradients back to the type of their weights."""
        stays = {
            number
            for number, which in zip(numbers.born, site.row.births, strict=True)
            if site.rows.tape.classes[which].kind in _STAYS
        }
        outputs, casts = [], []
        for meta, number in zip(site.signature.outputs, numbers.outputs, strict=True):
            is_low = meta.dtype == "float32" and (
                gives_low if number not in numbers.inputs else number in self._lowered
            )
            if is_low and number in stays:
                is_low = False
                casts.append(_cast(site, self._lower(meta), meta, place=0))
            outputs.append(self._lower(meta) if is_low else meta)
            if is_low:
                self._lowered.add(number)
        return outputs, casts

    def _follows(self, signature: Signature, numbers: Numbers) -> bool:
        """Whether an operation that has no type of its own gives 16 bits."""
        if op_class(signature.name) in _FLOAT32 or base_name(signature.name) in _FLOAT32_NAMES:
            return False
        floats = [
            number in self._lowered
            for meta, number in zip(signature.inputs, numbers.inputs, strict=True)
            if meta.dtype == "float32" and len(meta.shape) > 1
        ]
        if "backward" in signature.name:  # a gradient has the type of what was computed forward
            return any(floats)
        return bool(floats) and all(floats)

    def _casts(self, site: Site, numbers: Numbers) -> list[NewLeaf]:
        """Cast what comes in 32 bits; autocast remembers casts of weights."""
        out = []
        for place, (meta, number) in enumerate(zip(site.signature.inputs, numbers.inputs, strict=True)):
            if meta.dtype != "float32" or number in self._lowered or number in self._cast or not meta.shape:
                continue
            self._cast.add(number)
            out.append(_cast(site, meta, self._lower(meta), place=place))
        return out

    def _replaced(self, site: Site, signature: Signature, numbers: Numbers) -> NewLeaf:
        row, rows = site.row, site.rows
        births = tuple(self._class(number, which, rows) for number, which in zip(numbers.born, row.births, strict=True))
        deaths = tuple(self._classes.get(n, which) for n, which in zip(numbers.dead, row.deaths, strict=True))
        new = Row(rows.signature(signature), row.phase, row.module, row.source, births, deaths)
        return site.kept(rows.row(new))

    def _class(self, number: int, which: int, rows: Rows) -> int:
        if number in self._lowered:
            storage = rows.tape.classes[which]
            which = rows.storage_class(storage._replace(size_bytes=storage.size_bytes // 2))
            self._classes[number] = which
        return which

    def _lower(self, meta: TensorMeta) -> TensorMeta:
        return meta._replace(dtype=self._dtype) if meta.dtype == "float32" else meta


def _cast(site: Site, source: TensorMeta, target: TensorMeta, *, place: int) -> NewLeaf:
    """Make a cast beside an operation; its storage numbers are only placeholders."""
    moved = touched_bytes(source) + touched_bytes(target)
    cast = Signature("_to_copy", (source,), (target,), 0, 0, 0, moved)
    new = site.row._replace(signature=site.rows.signature(cast), births=(), deaths=())
    first = site.at + len(site.numbers.module)
    return NewLeaf(site.rows.row(new), (*range(site.at, first), first + place, first + place))
