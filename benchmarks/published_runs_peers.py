"""Step times of the same published runs by calculon and llm-analysis, beside ours: error and time.

``python -m benchmarks.published_runs_peers`` writes ``results/published_runs_peers.json``. Peers are used where they
can be imported (``pip install llm-analysis``; calculon from a copy of its repository, ``--calculon FOLDER``) and with
the constants that they come with. Rows that a peer cannot express are left out of its comparison, and ours is shown on
the same rows. Ours are fitted to these rows, theirs are not: see docs/published-runs.md for sources left out.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import write_result
from benchmarks.published_runs import by_source, find_data, measured_rows, summary
from benchmarks.published_runs_fit import Row
from trainworthy.estimate.analytic_time import run_parts
from trainworthy.estimate.runs_table import predict_row, read_table

_SYSTEMS = {"a100-sxm-80gb": "a100_80g", "h100-sxm-80gb": "h100_80g_nvl8"}
_GPUS = {
    "a100-sxm-80gb": "a100-sxm-80gb", "a100-sxm-40gb": "a100-sxm-40gb", "h100-sxm-80gb": "h100-sxm-80gb",
    "v100-sxm2-32gb": "v100-sxm-32gb", "v100-sxm2-16gb": "v100-sxm-16gb",
}  # fmt: skip


def calculon_s(row: Row, folder: Path) -> float:
    """Return calculon's batch time; a gated MLP is given as a plain one of the same products."""
    from calculon.llm import Llm
    from calculon.system import System

    config, model = row.config, row.config.model
    if config.cp > 1 or config.is_lora or config.zero_stage == 3 or model.experts is not None:
        raise ValueError("not expressible")
    system = json.loads((folder / "systems" / f"{_SYSTEMS[config.gpu.id]}.json").read_text(encoding="utf-8"))
    system["mem1"]["GiB"] = 10_000  # its verdict on memory is another question
    system["networks"][0]["size"] = min(8, config.num_gpus)
    system["networks"][0]["must_be_filled"] = False
    one_node = config.num_gpus <= 8
    nets = {
        "tensor_par_net": 0 if config.tp <= 8 else 1,
        "pipeline_par_net": int(not one_node),
        "data_par_net": int(not one_node),
    }
    application = {
        "hidden": model.hidden, "feedforward": model.ffn_hidden * model.mlp_matrices // 2, "seq_size": config.seq_len,
        "attn_heads": model.heads, "attn_size": model.head_dim, "num_blocks": model.layers,
    }  # fmt: skip
    execution = {
        "num_procs": config.num_gpus, "tensor_par": config.tp, "pipeline_par": config.pp, "data_par": config.dp, **nets,
        "batch_size": config.grad_accumulation * config.micro_batch * config.dp, "microbatch_size": config.micro_batch,
        "datatype": "float8" if config.precision == "fp8" else "float16", "fused_activation": True,
        "attention_type": "multihead", "pipeline_interleaving": config.interleave,
        "activation_recompute": {"full": "full", "none": "none", "selective": "attn_only"}[config.checkpointing],
        "optimizer_sharding": config.zero_stage > 0 and config.dp > 1,
        "tensor_par_comm_type": "rs_ag" if config.sequence_parallel else "ar", "tensor_par_overlap": "none",
        "seq_par_ag_redo": False, "data_par_overlap": False, "weight_offload": False, "activations_offload": False,
        "optimizer_offload": False, "training": True,
    }  # fmt: skip
    run = Llm(Llm.Application(application), logging.getLogger("calculon"))
    machine = System(system)
    run.compile(machine, Llm.Execution.from_json(execution))
    run.run(machine)
    return float(run.get_total_time())


def llm_analysis_s(row: Row, *, efficiency: float) -> float:
    """Return llm-analysis' time of a step."""
    from llm_analysis import analysis
    from llm_analysis import config as peer

    config, model = row.config, row.config.model
    if config.cp > 1 or config.is_lora or model.experts is not None or config.precision in {"fp8", "nvfp4"}:
        raise ValueError("not expressible")
    dims = peer.ModelConfig(
        name="row", num_layers=model.layers, n_head=model.heads, hidden_dim=model.hidden,
        expansion_ratio=model.ffn_hidden / model.hidden, vocab_size=model.vocabulary or 51200,
        max_seq_len=config.seq_len, num_key_value_heads=model.kv_heads, ffn_embed_dim=model.ffn_hidden,
    )  # fmt: skip
    gpu = peer.get_gpu_config_by_name(_GPUS[config.gpu.id])
    layout = peer.ParallelismConfig(
        tp_size=config.tp, pp_size=config.pp, dp_size=config.dp, sp_size=config.tp if config.sequence_parallel else 1
    )
    tool = analysis.LLMAnalysis(dims, gpu, parallelism_config=layout, flops_efficiency=efficiency)
    recompute = analysis.ActivationRecomputation
    found = tool.training(
        batch_size_per_gpu=config.micro_batch, gradient_accumulation_steps=config.grad_accumulation,
        global_batch_size=config.micro_batch * config.grad_accumulation * config.dp, seq_len=config.seq_len,
        activation_recomputation=recompute[config.checkpointing.upper()],
        ds_zero=analysis.DSZeRO(config.zero_stage), flash_attn=config.attention == "flash",
        mlp_gated_linear_units=model.mlp == "gated",
    )  # fmt: skip
    return float(found["latency_per_iter"])


def compare(rows: Sequence[Row], peer: Callable[[Row], float]) -> dict[str, Any]:
    """Run a peer over the rows that it can express, and ours over the same."""
    kept, errors, refusals, seconds = [], [], 0, 0.0
    for row in rows:
        start = time.perf_counter()
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                predicted = peer(row)
        except Exception:  # whatever a peer raises, it has no answer
            refusals += 1
            continue
        seconds += time.perf_counter() - start
        if predicted > 0:
            kept.append(row)
            errors.append(math.log(predicted / row.measured_s))
    if not kept:
        return {"rows": 0, "refused": refusals}
    start = time.perf_counter()
    ours = [math.log(run_parts(row.config).total_s / row.measured_s) for row in kept]
    our_seconds = time.perf_counter() - start
    return {
        "rows": len(kept), "refused": refusals, "seconds_a_row": seconds / len(kept),
        "our_seconds_a_row": our_seconds / len(kept), "bias": math.expm1(statistics.median(errors)),
        "peer": summary(by_source(kept, errors, lambda row: row.source)),
        "ours": summary(by_source(kept, ours, lambda row: row.source)),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with published_runs.csv")
    parser.add_argument("--calculon", type=Path, help="folder of calculon's repository")
    options = parser.parse_args()
    folder = find_data(options.data)
    if folder is None:
        print("No published_runs.csv: pass --data FOLDER. The measurements are not part of this repository.")
        return 0
    logging.disable(logging.CRITICAL)
    _, raw = read_table(folder / "published_runs.csv")
    rows = measured_rows([predict_row(row) for row in raw], group="stated")
    peers: dict[str, Callable[[Row], float]] = {
        "llm-analysis (as shipped, efficiency 1.0)": lambda row: llm_analysis_s(row, efficiency=1.0),
        "llm-analysis (efficiency 0.5)": lambda row: llm_analysis_s(row, efficiency=0.5),
    }
    if options.calculon is not None:
        sys.path.insert(0, str(options.calculon))
        peers["calculon"] = lambda row: calculon_s(row, options.calculon)
    found = {name: compare(rows, peer) for name, peer in peers.items()}
    for name, each in found.items():
        if not each["rows"]:
            print(f"{name:42s} no answer for {each['refused']} rows: not installed?")
            continue
        print(f"{name:42s} {each['rows']:5d} rows  median {each['peer']['weighted_median']:6.1%}  within 20 % "
              f"{each['peer']['within_20']:5.0%}  ours there {each['ours']['weighted_median']:6.1%} "
              f"{each['ours']['within_20']:5.0%}  {each['seconds_a_row'] * 1e3:.2f} ms a row")  # fmt: skip
    write_result("published_runs_peers", peers=found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
