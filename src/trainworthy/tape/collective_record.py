"""How a recorder writes down collectives, and the waits for those that run beside the computation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from trainworthy.tape.build import RawOp
from trainworthy.tape.collectives import describe_communication
from trainworthy.tape.record import Signature, TensorMeta

if TYPE_CHECKING:
    from trainworthy.tape.recorder import Recorder


class Ticket(NamedTuple):
    """The results of an asynchronous collective: what a later wait refers to, without keeping them alive."""

    metas: tuple[TensorMeta, ...]
    storages: tuple[int, ...]


def record_collective(
    recorder: Recorder, func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any
) -> None:
    """Write down one collective: what goes in, what comes out, among whom."""
    call = describe_communication(func, args, kwargs, out, recorder.groups)
    if recorder.is_beside() and not call.collective.is_async:
        call = call._replace(collective=call.collective._replace(is_async=True))
    index = len(recorder.ops)
    phase, module, source = recorder._place(call.inputs)
    recorder._phase_now = phase
    born = {id(t) for t in call.outputs if not any(t is i for i in call.inputs)}
    ids_in = tuple([recorder._storage(t, index, None, source, module).number for t in call.inputs])
    ids_out = tuple(
        [recorder._storage(t, index, name if id(t) in born else None, source, module).number for t in call.outputs]
    )
    if recorder.paused:
        return
    metas = tuple([recorder._meta(t) for t in call.inputs]), tuple([recorder._meta(t) for t in call.outputs])
    key = (func, *metas, call.collective)
    number = recorder._signature_ids.get(key)
    if number is None:
        number = recorder._signature_ids[key] = len(recorder.signatures)
        moved = call.collective.bytes_in + call.collective.bytes_out
        recorder.signatures.append(
            Signature(f"{func.namespace}.{name}", *metas, 0, 0, 0, moved, collective=call.collective)
        )
    recorder.ops.append(RawOp(number, phase, recorder.steps.current, module, source, ids_in, ids_out))
    if call.collective.is_async:
        recorder.on_async_collective(func, Ticket(metas[1] or metas[0], ids_out or ids_in))


def note_wait(recorder: Recorder, ticket: Ticket) -> None:
    """Record that the compute stream waits for an asynchronous collective."""
    if recorder.paused:
        return
    phase, module, source = recorder._place([])
    # A script may let go of a result before it waits.
    alive = [i for i, storage in enumerate(ticket.storages) if recorder.ledger.records[storage].death is None]
    metas = tuple([ticket.metas[i] for i in alive])
    key = ("c10d.wait", metas)
    number = recorder._signature_ids.get(key)
    if number is None:
        number = recorder._signature_ids[key] = len(recorder.signatures)
        recorder.signatures.append(Signature("c10d.wait", metas, (), 0, 0, 0, 0))
    storages = tuple([ticket.storages[i] for i in alive])
    recorder.ops.append(RawOp(number, phase, recorder.steps.current, module, source, storages, ()))
