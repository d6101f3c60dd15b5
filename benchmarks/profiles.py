"""Record the profiles of ``estimate/profile_data``: ``python -m benchmarks.profiles [NAME ...]``.

Each model of ``profile_models.py`` takes one training step (or inference) on the virtual GPU with a batch of 127 and,
where it has one, a sequence of 131: prime numbers that no size of a model holds, so that in every recorded size they
say where the batch and the sequence are.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

from benchmarks.common import ROOT
from benchmarks.profile_models import MODELS, ProfileModel
from trainworthy.estimate.op_classes import op_class
from trainworthy.estimate.profiles import DTYPES
from trainworthy.tape.record import Signature, Tape, TensorMeta

FOLDER = ROOT / "src" / "trainworthy" / "estimate" / "profile_data"
BATCH, SEQUENCE = 127, 131
_LETTER = {name: letter for letter, name in DTYPES.items()}
_GPU = "h200-sxm-141gb"  # only its generation matters: which attention kernels there are


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or MODELS:
        path = FOLDER / f"{name}.json"
        path.write_text(profile_text(name, MODELS[name]) + "\n", encoding="utf-8")
        print(f"{name:24} {path.stat().st_size / 1024:7.1f} KiB", flush=True)


def profile_text(name: str, model: ProfileModel) -> str:
    """Record one model; one operator a line, so that a change can be read."""
    parameters = 0
    variants = []
    for variant in model.variants:
        tape, parameters = _tape(model, variant, BATCH)
        rows, views = _ops(tape)
        lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
        variants.append(
            f'"{variant}":{{"peak_bytes":{json.dumps(_peak(model, variant))},'
            f'"views":{json.dumps(views)},"ops":[\n{lines}]}}'
        )
    about = json.dumps({"schema_version": 1, "model": name, "parameters": parameters, "about": model.about})
    return about[:-1] + ',"variants":{\n' + ",\n".join(variants) + "}}"


def _peak(model: ProfileModel, variant: str) -> list[float]:
    """Return the fixed part of the peak, the part of each token, and that of each pair of tokens of a sequence."""
    small, large = model.memory_batches
    model = replace(model, inputs=model.longest or model.inputs)
    few, many = (_tape(model, variant, batch, 128)[0].memory().peak_bytes for batch in (small, large))
    per_sample = (many - few) / (large - small)
    fixed = few - small * per_sample
    if not model.has_sequence:
        return [round(fixed), round(per_sample), 0]
    long = (_tape(model, variant, small, 512)[0].memory().peak_bytes - fixed) / small
    squared = (long - 4 * per_sample) / (512**2 - 4 * 128**2)
    return [round(fixed), round((per_sample - squared * 128**2) / 128, 2), round(squared, 4)]


def _tape(model: ProfileModel, variant: str, batch: int, sequence: int = SEQUENCE) -> tuple[Tape, int]:
    import torch

    from trainworthy.hardware import gpu_row
    from trainworthy.virtual.gpu import VirtualGpu

    train, amp = variant.startswith("train"), variant.endswith("amp")
    with VirtualGpu(gpu_row(_GPU)) as gpu:
        module = model.build().to("cuda").train(train)
        if model.channels_last == "always" or (amp and model.channels_last == "amp"):
            module = module.to(memory_format=torch.channels_last)
        inputs = model.inputs(batch, sequence)
        if model.channels_last == "always" or (amp and model.channels_last == "amp"):
            inputs = tuple(x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x for x in inputs)
        optimizer = model.optimizer(module.parameters()) if train and model.optimizer else None
        for parameter in module.parameters() if optimizer else ():
            if isinstance(optimizer, torch.optim.SGD):
                optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter)
        steps = gpu.recorder.steps
        steps.begin()
        with torch.set_grad_enabled(train), torch.autocast("cuda", dtype=torch.float16, enabled=amp):
            loss = model.loss(module, *inputs)
        if train:
            loss.backward()
        if optimizer:
            optimizer.step()
        steps.finish()
        parameters = sum(p.numel() for p in module.parameters())
        return gpu.tape(script=model.about, steps=1), parameters


def _ops(tape: Tape) -> tuple[list[list[Any]], dict[str, int]]:
    counts: Counter[tuple[str, str, str, str, str]] = Counter()
    views: Counter[str] = Counter()
    from trainworthy.tape.record import PHASES

    for row, times in tape.row_counts(1).items():
        signature = tape.signatures[tape.rows[row].signature]
        phase = {"optimizer": "o", "backward": "b"}.get(PHASES[tape.rows[row].phase], "f")
        if op_class(signature.name) in ("view", "sync", "collective"):
            views[phase] += times
            continue
        if all(t.device.startswith("cpu") for t in (*signature.inputs, *signature.outputs)):
            continue
        counts[(phase, *_coded(signature))] += times
    return [[n, phase, *rest] for (phase, *rest), n in counts.items()], dict(views)


def _coded(signature: Signature) -> tuple[str, str, str, str]:
    tensors_in, tensors_out = signature.inputs, signature.outputs
    if op_class(signature.name) in ("optimizer_fused", "optimizer_foreach"):
        tensors_in, tensors_out = _merged(tensors_in), _merged(tensors_out)
    if op_class(signature.name) in ("rnn_forward", "rnn_backward"):
        tensors_in, tensors_out = (tuple(map(_in_batches, tensors)) for tensors in (tensors_in, tensors_out))
    needs_flops = op_class(signature.name) in ("attention_forward", "attention_backward", "rnn_forward", "rnn_backward")
    flops = _size(signature.flops or 0) if needs_flops and signature.flops else ""
    return signature.name, ";".join(map(_tensor, tensors_in)), ";".join(map(_tensor, tensors_out)), flops


def _in_batches(meta: TensorMeta) -> TensorMeta:
    """Round the reserve of a recurrent layer, bytes of which a few do not grow with the batch, to whole samples."""
    if meta.dtype != "uint8" or len(meta.shape) != 1:
        return meta
    return meta._replace(shape=(round(meta.shape[0] / BATCH) * BATCH,))


def _merged(tensors: tuple[TensorMeta, ...]) -> tuple[TensorMeta, ...]:
    """Put the lists of an optimizer's kernel together: its time depends on the sum."""
    sizes: Counter[str] = Counter()
    for t in tensors:
        number = 1
        for n in t.shape:
            number *= n
        sizes[t.dtype] += number
    return tuple(TensorMeta((n,), (1,), dtype, "cuda:0") for dtype, n in sizes.items())


def _tensor(meta: TensorMeta) -> str:
    sizes = ",".join(("*" if s == 0 and n > 1 else "") + _size(n) for n, s in zip(meta.shape, meta.stride, strict=True))
    return f"{_LETTER.get(meta.dtype, 'o')} {_layout(meta)} {sizes}"


def _layout(meta: TensorMeta) -> str:
    dims = [d for d, n in enumerate(meta.shape) if n > 1 and meta.stride[d] != 0]
    order = sorted(dims, key=lambda d: (-meta.stride[d], d))
    if order == dims:
        return "n"
    if len(meta.shape) > 2 and order == [d for d in (0, *range(2, len(meta.shape)), 1) if d in dims]:
        return "c"
    return "t" if order[:-2] == dims[:-2] else "x"


def _size(number: int) -> str:
    letters = ""
    for prime, letter in ((BATCH, "b"), (SEQUENCE, "s")):
        while number and number % prime == 0:
            number //= prime
            letters += letter
    return (str(number) if number != 1 or not letters else "") + letters


if __name__ == "__main__":
    main()
