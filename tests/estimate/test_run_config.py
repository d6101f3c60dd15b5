from __future__ import annotations

from dataclasses import replace

import pytest

from trainworthy.errors import TrainworthyError, UnknownGpuError, UsageError
from trainworthy.estimate.memory_input import memory_input
from trainworthy.estimate.run_config import MEASURED_COLUMNS, run_config_from_row

ROW = {
    "model": "LLaMA-13B", "layers": "40", "hidden": "5120", "ffn_hidden": "13824", "heads": "40", "kv_heads": "40",
    "vocab": "128000", "seq_len": "2048", "global_batch": "2048", "micro_batch": "2", "gpu": "A100", "num_gpus": "64",
    "gpus_per_node": "8", "dp": "32", "tp": "2", "pp": "1", "activation_checkpointing": "none", "precision": "bf16",
    "compile_flash": "flash_attention2 + RMS kernel", "step_time_s": "52.5", "source_url": "https://github.com/Aleph-Alpha/x",
}  # fmt: skip


def test_a_row_is_read() -> None:
    config = run_config_from_row(ROW)
    assert (config.stack, config.generation, config.gpu.id) == ("aleph-scaling", "ampere", "a100-sxm-80gb")
    assert (config.dp, config.tp, config.pp, config.grad_accumulation) == (32, 2, 1, 32)
    assert (config.model.mlp, config.model.vocabulary) == ("gated", 128000)
    assert (config.attention, config.flash_version, config.fused_norms) == ("flash", 2, True)
    assert any("its memory is not stated" in line for line in config.assumptions)


def test_measured_columns_are_never_read() -> None:
    measured = dict.fromkeys(MEASURED_COLUMNS, "garbage")
    assert run_config_from_row({**ROW, **measured}) == run_config_from_row(ROW)


def test_names_of_gpus_that_tables_use() -> None:
    found = {
        text: run_config_from_row({**ROW, "gpu": text}).gpu.id
        for text in ("A100 SXM (DGX-A100)", "V100 SXM3 (DGX-2)", "GB200", "H200 (sic; text implies B200)", "A800")
    }
    assert found == {
        "A100 SXM (DGX-A100)": "a100-sxm-80gb",
        "V100 SXM3 (DGX-2)": "v100-sxm2-32gb",
        "GB200": "gb200-186gb",
        "H200 (sic; text implies B200)": "h200-sxm-141gb",
        "A800": "a100-sxm-80gb",
    }


def test_a_gpu_without_a_row_is_an_error() -> None:
    with pytest.raises(UnknownGpuError, match="TPU v4"):
        run_config_from_row({**ROW, "gpu": "TPU v4"})


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("tp", "", "No value for tp"),
        ("micro_batch", "-1", "micro_batch is '-1'"),
        ("num_gpus", "3", "does not divide"),
        ("layers", "", "no model is known as 'nothing'"),
        ("heads", "7", "does not divide hidden"),
    ],
)
def test_what_is_missing_or_wrong_is_named(column: str, value: str, words: str) -> None:
    with pytest.raises(TrainworthyError, match=words):
        run_config_from_row({**ROW, "model": "nothing", column: value})


def test_a_model_known_by_name_fills_its_sizes() -> None:
    row = {**ROW, "model": "Llama-3.1-8B", "layers": "", "hidden": "", "heads": "", "ffn_hidden": "", "vocab": ""}
    model = run_config_from_row(row).model
    assert (model.layers, model.kv_heads, model.vocabulary, model.parameters) == (32, 8, 128256, 8030261248)


def test_degrees_win_over_a_wrong_dp() -> None:
    config = run_config_from_row({**ROW, "dp": "8"})
    assert config.dp == 32
    assert any("the table says 8" in line for line in config.assumptions)


def test_unreadable_numbers_are_usage_errors() -> None:
    with pytest.raises(UsageError):
        run_config_from_row({**ROW, "seq_len": "1e30.5"})


def test_an_optimizer_is_known_or_an_error() -> None:
    assert run_config_from_row({**ROW, "optimizer": "Adam_8bit"}).optimizer == "adam-8bit"
    assert run_config_from_row(ROW).optimizer is None
    with pytest.raises(UsageError, match="Unknown optimizer 'adamz'"):
        run_config_from_row({**ROW, "optimizer": "adamz"})


def test_states_of_the_optimizer_are_what_is_kept() -> None:
    config = run_config_from_row(ROW)
    kept = {
        name: memory_input(replace(config, optimizer=name)).habits.optimizer_bytes
        for name in (None, "adamw", "sgd", "sgd-momentum", "adam-8bit")
    }
    # Megatron: float32 weights 4, two float32 states 8 bytes a parameter.
    assert kept == {None: 12, "adamw": 12, "sgd": 4, "sgd-momentum": 8, "adam-8bit": 6.03125}
