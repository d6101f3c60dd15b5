"""Every example rehearses unmodified at its own (GPU-sized) settings; small ones really run too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import trainworthy as tw
from trainworthy.inspect import RehearsalResult

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EXAMPLES = Path(__file__).parent.parent / "examples"
TINY: dict[str, list[str]] = tomllib.loads((EXAMPLES / "tiny.toml").read_text())

# Worked out by hand from the layer shapes in the scripts.
PARAMETERS = {
    "mlp_plain_loop.py": (128 * 1024 + 1024) + (1024 * 1024 + 1024) + (1024 * 2 + 2),
    "transformer_lm.py": 124_439_808,  # GPT-2 as published, the output layer tied
    "vae.py": (784 * 400 + 400) + 2 * (400 * 20 + 20) + (20 * 400 + 400) + (400 * 784 + 784),
    "hf_transformers.py": 109_483_778,  # BERT base with a classifier of two classes
}


def test_every_example_has_a_small_version() -> None:
    assert sorted(TINY) == sorted(path.name for path in EXAMPLES.glob("*.py"))


# Other packages look around when they are imported, and the first example stands for torch: by a process of the
# rehearsal's own, as for users.
AS_A_USER_DOES = ("accelerate_loop.py", "checkpointed_deep_net.py", "hf_transformers.py", "lightning_module.py")


def gpt2_step_by_hand(result: RehearsalResult) -> None:
    """FLOPs of GPT-2 124M from the shapes: 12 layers, width 768, 4 x 8 x 1024 tokens."""
    tokens, width, layers, vocabulary, length = 4 * 8 * 1024, 768, 12, 50257, 1024
    matrices = layers * 12 * width * width + vocabulary * width
    attention = layers * 2 * length * width  # scores and their product with the values
    assert result.macs_forward == tokens * (matrices + attention)
    assert result.model_flops_per_step == 6 * tokens * (matrices + attention)
    recomputed = 2 * tokens * layers * length * width  # flash attention forms the scores again
    assert result.flops_per_step == result.model_flops_per_step + recomputed


@pytest.mark.parametrize("name", sorted(TINY))
def test_rehearses_unmodified(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if name not in AS_A_USER_DOES:
        request.getfixturevalue("warm_rehearsals")
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        result = tw.rehearse(EXAMPLES / name, gpu="h100-sxm-80gb", time_limit_s=120)
    assert result.error is None
    assert result.verdict == "fits"
    assert result.steps == 2
    assert (result.flops_per_step or 0) > 0
    assert (result.macs_forward or 0) > 0
    assert result.peak_source is not None
    assert list(tmp_path.iterdir()) == []  # checkpoints and samples went to the scratch folder
    by_kind = result.memory_by_kind_bytes
    assert sum(by_kind.values()) == result.peak_memory_bytes
    assert by_kind["parameter"] > 0
    if name in PARAMETERS:
        assert result.parameters == PARAMETERS[name]
    if name == "transformer_lm.py":
        gpt2_step_by_hand(result)


@pytest.mark.parametrize("name", ["gan_two_optimizers.py", "rnn_packed.py", "transformer_lm.py"])
def test_really_runs_on_a_cpu(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / name), *TINY[name]]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "loss" in done.stdout or "D " in done.stdout
