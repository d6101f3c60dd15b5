"""One optimizer step of a Llama-shaped model; as a process, it rehearses, inspects and measures it.

The default sizes are those of Llama 3 405B (Llama Team 2024, table 3), sequence 8192, bfloat16, AdamW.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import environment, leave, peak_resident_bytes

GPU = "h200-sxm-141gb"


def make_step(layers: int) -> Any:
    """Build the model as a script would, and return the function that trains it for one step."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=16384, intermediate_size=53248, num_hidden_layers=layers, num_attention_heads=128,
        num_key_value_heads=8, vocab_size=128256, max_position_embeddings=8192, use_cache=False,
    )  # fmt: skip
    model: torch.nn.Module = LlamaForCausalLM(config)
    model = model.to("cuda", torch.bfloat16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=8e-5)

    def step() -> Any:
        tokens = torch.randint(config.vocab_size, (1, 8192)).to("cuda")
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return step


def measure(layers: int, steps: int) -> dict[str, Any]:
    """Rehearse ``steps`` steps; seconds are beyond importing torch and transformers."""
    start = time.perf_counter()
    import torch
    from transformers import LlamaForCausalLM  # noqa: F401 - the import is measured apart

    imports = time.perf_counter() - start
    imported_bytes = peak_resident_bytes()
    start, cpu = time.perf_counter(), time.process_time()
    import trainworthy as tw

    result = tw.rehearse(lambda: make_step(layers), gpu=GPU, steps=steps)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    return {
        "layers": layers, "steps": steps, "import_seconds": imports, "seconds": seconds, "cpu_seconds": cpu_seconds,
        "peak_resident_bytes": peak_resident_bytes(), "resident_after_imports_bytes": imported_bytes,
        "num_ops": result.tape.num_ops, "parameters": result.parameters, "flops_per_step": result.flops_per_step,
        "peak_memory_bytes": result.peak_memory_bytes, "verdict": result.verdict,
        "torch_threads": torch.get_num_threads(), **_reported(result),
    }  # fmt: skip


def _reported(result: Any) -> dict[str, Any]:
    """Measure what comes after the rehearsal: the saved tape, reading it back, and the reports."""
    from trainworthy import load_tape, report
    from trainworthy.inspect import summarize

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "step.tape"
        start = time.perf_counter()
        result.tape.save(path)
        saved = time.perf_counter()
        tape = load_tape(path)
        loaded = time.perf_counter()
        again = summarize(tape)
        summarized = time.perf_counter()
        text = report.render_text([again])
        rendered = time.perf_counter()
        again.tape.save(path)
        command = _report_command_seconds(path)
        return {
            "tape_bytes": path.stat().st_size, "save_seconds": saved - start, "load_seconds": loaded - saved,
            "summarize_seconds": summarized - loaded, "text_seconds": rendered - summarized,
            "report_seconds": rendered - loaded, "text_characters": len(text), "report_command_seconds": command,
        }  # fmt: skip


def _report_command_seconds(tape: Path) -> float:
    """Time ``trainworthy report TAPE`` as a user waits for it, the faster of two."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        words = [sys.executable, "-m", "trainworthy", "report", "--exit-zero", str(tape)]
        subprocess.run(words, env=environment(), capture_output=True, check=True)
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Measure once in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=126)
    parser.add_argument("--steps", type=int, default=1)
    options = parser.parse_args()
    leave(measure(options.layers, options.steps))


if __name__ == "__main__":
    main()
