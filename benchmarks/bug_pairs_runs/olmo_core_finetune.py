"""Finetune a small transformer on invented conversations, whose questions are masked, with the project's trainer.

fix: 0218f28d
depth: live 60
expects: -
where: program
stands in: cached_path, pandas and bettermap (imported only)
needs: dataclass-extensions, importlib_resources, requests, urllib3, certifi
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch._dynamo  # noqa: F401 before pandas has its stand-in
from stand_ins import HERE, stand_in

stand_in("cached_path")
stand_in("cached_path.schemes", S3Client=type("S3Client", (), {"recoverable_errors": ()}))
stand_in("pandas")
stand_in("bettermap")
sys.path.insert(0, str(HERE / "src"))

from olmo_core.data import NumpyDataLoaderConfig, NumpyPaddedFSLDatasetConfig, TokenizerConfig
from olmo_core.nn.transformer import TransformerConfig
from olmo_core.optim import AdamWConfig, LinearWithWarmup
from olmo_core.train import Duration, TrainerConfig, prepare_training_environment
from olmo_core.train.callbacks import ConsoleLoggerCallback, LMEvaluatorCallbackConfig
from olmo_core.train.train_module import TransformerTrainModuleConfig

SEQUENCE_LENGTH = 64


def write_conversations(folder, name, size, rng):
    tokens, mask = [], []
    for _ in range(size):
        question = rng.integers(2, 100, rng.integers(5, 71))
        answer = (question[: rng.integers(4, 40)] + 1) % 98 + 2
        tokens.append(np.concatenate([question, answer, [0]]))
        mask.append(np.arange(len(tokens[-1])) >= len(question))
    np.concatenate(tokens).astype(np.uint8).tofile(folder / f"{name}.npy")
    np.concatenate(mask).tofile(folder / f"{name}_mask.npy")


def dataset_config(folder, name, tokenizer):
    return NumpyPaddedFSLDatasetConfig(
        paths=[str(folder / f"{name}.npy")],
        label_mask_paths=[str(folder / f"{name}_mask.npy")],
        metadata=[{"label": name}],
        sequence_length=SEQUENCE_LENGTH,
        tokenizer=tokenizer,
        work_dir=str(folder / "work"),
    )


def main():
    prepare_training_environment(seed=0, backend=None)
    folder = Path(tempfile.mkdtemp())
    rng = np.random.default_rng(0)
    write_conversations(folder, "train", 43, rng)
    write_conversations(folder, "validation", 10, rng)
    tokenizer = TokenizerConfig(vocab_size=101, eos_token_id=0, pad_token_id=1)

    model = TransformerConfig.llama_like(
        d_model=64, vocab_size=tokenizer.padded_vocab_size(), n_layers=2, n_heads=4
    ).build(init_device="cpu")
    train_module = TransformerTrainModuleConfig(
        rank_microbatch_size=2 * SEQUENCE_LENGTH,
        max_sequence_length=SEQUENCE_LENGTH,
        optim=AdamWConfig(lr=1e-3),
        max_grad_norm=1.0,
        scheduler=LinearWithWarmup(warmup_steps=2),
    ).build(model)
    data_loader = NumpyDataLoaderConfig(global_batch_size=4 * SEQUENCE_LENGTH, seed=0).build(
        dataset_config(folder, "train", tokenizer).build()
    )
    evaluator = LMEvaluatorCallbackConfig(
        eval_dataset=dataset_config(folder, "validation", tokenizer), eval_interval=5, eval_duration=Duration.steps(2)
    )
    trainer = (
        TrainerConfig(
            save_folder=str(folder / "run"),
            save_overwrite=True,
            max_duration=Duration.epochs(2),
            metrics_collect_interval=2,
        )
        .with_callback("console", ConsoleLoggerCallback(metrics_log_interval=2))
        .with_callback("evaluator", evaluator)
        .build(train_module, data_loader)
    )
    trainer.fit()


if __name__ == "__main__":
    main()
