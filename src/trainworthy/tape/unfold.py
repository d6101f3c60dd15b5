"""Every operation and storage of a folded tape, one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from trainworthy.tape.nodes import Leaf, fill_template, leaves
from trainworthy.tape.record import PHASES, Kind, Op, Storage, Tape, TensorInfo, TensorMeta


class Unfolder:
    """Iterates over the operations of a tape and collects its storages on the way."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.storages: dict[int, Storage] = {}
        self._kinds: dict[int, Kind] = {}
        self._holes = tuple(template.count("{}") for template in tape.modules)

    def __iter__(self) -> Iterator[Op]:
        index = 0
        for segment in self.tape.segments:
            for leaf in leaves(segment.nodes):
                yield self._op(index, segment.step, leaf)
                index += 1

    def _op(self, index: int, step: int, leaf: Leaf) -> Op:
        tape, row = self.tape, self.tape.rows[leaf.row]
        signature, ints = tape.signatures[row.signature], leaf.ints
        at = self._holes[row.module]
        module = fill_template(tape.modules[row.module], ints[:at])
        num_in, num_out = len(signature.inputs), len(signature.outputs)
        ids_in, at = ints[at : at + num_in], at + num_in
        ids_out, at = ints[at : at + num_out], at + num_out
        born, dead = ints[at : at + len(row.births)], ints[at + len(row.births) :]
        for number, which in zip(born, row.births, strict=True):
            cls = tape.classes[which]
            self._kinds[number] = cls.kind
            self.storages[number] = Storage(
                number=number, size_bytes=cls.size_bytes, device=cls.device, kind=cls.kind,
                origin=cls.origin, source=tape.sources[cls.source],
                module=tape.modules[cls.module] if cls.module != row.module else module,
                birth=index, death=None,
            )  # fmt: skip
        for number in dead:
            self.storages[number] = _replace_death(self.storages[number], index + 1)
        return Op(
            index=index, name=signature.name, phase=PHASES[row.phase], step=step, module=module,
            source=tape.sources[row.source],
            inputs=self._infos(signature.inputs, ids_in),
            outputs=self._infos(signature.outputs, ids_out),
            flops=signature.flops, pointwise_flops=signature.pointwise_flops,
            recompute_flops=signature.recompute_flops, moved_bytes=signature.moved_bytes,
            host_syncs=signature.host_syncs, collective=signature.collective,
        )  # fmt: skip

    def _infos(self, metas: tuple[TensorMeta, ...], ids: tuple[int, ...]) -> tuple[TensorInfo, ...]:
        return tuple(
            TensorInfo(shape=m.shape, stride=m.stride, dtype=m.dtype, device=m.device,
                       storage=i, kind=self._kinds.get(i, "temporary"))
            for m, i in zip(metas, ids, strict=True)
        )  # fmt: skip


def _replace_death(storage: Storage, death: int) -> Storage:
    return replace(storage, death=death)
