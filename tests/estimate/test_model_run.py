from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainworthy.errors import TrainworthyError, UnknownGpuError, UsageError
from trainworthy.estimate.model_rows import dims_from_hf_config, model_row, model_rows
from trainworthy.estimate.model_run import estimate_model

# Parameters as the models' cards and papers print them, in billions.
PUBLISHED = {
    "gpt2": 0.124439808, "gpt2-xl": 1.5576112, "llama2-7b": 6.738415616, "llama3-8b": 8.030261248,
    "llama3-70b": 70.553706496, "llama3-405b": 405.853388800, "mistral-7b": 7.241732096, "mixtral-8x7b": 46.702792704,
    "bloom-176b": 176.247271424, "pythia-1b": 1.011781632, "qwen2.5-7b": 7.62, "qwen3-30b-a3b": 30.5,
    "qwen3-235b-a22b": 235.0, "gemma-2b": 2.506172416, "gpt-oss-120b": 116.83, "opt-175b": 174.6,
}  # fmt: skip


@pytest.mark.parametrize(("name", "billions"), PUBLISHED.items())
def test_parameters_of_transcribed_models(name: str, billions: float) -> None:
    assert model_row(name).parameters / 1e9 == pytest.approx(billions, rel=0.002)


def test_active_parameters_of_experts() -> None:
    assert model_row("mixtral-8x7b").active_matmul_parameters / 1e9 == pytest.approx(12.75, rel=0.01)
    assert model_row("qwen3-30b-a3b").active_layer_parameters / 1e9 == pytest.approx(2.7, rel=0.02)


def test_all_models_can_be_estimated() -> None:
    for name in model_rows():
        run = estimate_model(name, options={"gpu": "h100-sxm-80gb", "num_gpus": 8, "zero_stage": 3})
        assert run.mfu is not None
        assert 0 < run.mfu.expected < 0.8, name


def test_names_do_not_mind_case_and_dashes() -> None:
    assert model_row("Llama3 8B") == model_row("llama3-8b") == model_row("LLAMA3.1_8B")


def test_options_are_columns() -> None:
    options = {"gpu": "h100-sxm-80gb", "num_gpus": 64, "tp": 2, "pp": 2, "seq_len": 8192, "global_batch": 256}
    run = estimate_model("llama3-8b", options=options)
    assert (run.config.dp, run.config.grad_accumulation) == (16, 16)
    assert run.samples_per_s.expected == pytest.approx(256 / run.time.step_s.expected)
    assert run.hfu == run.mfu  # nothing is computed again
    full = estimate_model("llama3-8b", options={**options, "activation_checkpointing": "full"})
    assert full.hfu is not None
    assert full.mfu is not None
    assert full.hfu.expected / full.mfu.expected == pytest.approx(4 / 3, rel=0.03)


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("llama9", {"gpu": "h100-sxm-80gb"}, "No model is known"),
        ("llama3-8b", {"gpu": "h100"}, "No data for GPU"),
        ("llama3-8b", {}, "No data for GPU"),
        ("llama3-8b", {"gpu": "h100-sxm-80gb", "num_gpus": 0}, "at least 1"),
        ("llama3-8b", {"gpu": "h100-sxm-80gb", "num_gpus": 8, "tp": 3}, "does not divide"),
        ("llama3-8b", {"gpu": "h100-sxm-80gb", "seq_len": 10**30}, "seq_len"),
        ("llama3-8b", {"gpu": "h100-sxm-80gb", "tp": "two"}, "whole number"),
    ],
)
def test_what_cannot_be_says_so(model: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(TrainworthyError, match=words):
        estimate_model(model, options=options)


def test_no_gpu_is_guessed_from_words() -> None:
    with pytest.raises(UnknownGpuError):
        estimate_model("llama3-8b", options={"gpu": "A100"})


def test_a_config_of_hugging_face(tmp_path: Path) -> None:
    raw = {
        "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32,
        "num_hidden_layers": 32, "num_key_value_heads": 8, "vocab_size": 128256, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
    }  # fmt: skip
    path = tmp_path / "config.json"
    path.write_text(json.dumps(raw))
    assert dims_from_hf_config(path).parameters == 8_030_261_248
    run = estimate_model(str(path), options={"gpu": "h100-sxm-80gb"})
    known = estimate_model("llama3-8b", options={"gpu": "h100-sxm-80gb"})
    assert run.time.step_s == known.time.step_s


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "Cannot be read"),
        ("[]", "no table"),
        ('{"hidden_size": 8}', "No size"),
        ('{"kv_lora_rank": 512, "hidden_size": 8, "num_attention_heads": 2}', "latent"),
    ],
)
def test_configs_that_cannot_be_read(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        dims_from_hf_config(path)
