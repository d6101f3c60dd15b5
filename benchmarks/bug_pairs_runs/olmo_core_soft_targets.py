"""Train a small transformer on an invented corpus with soft targets from its bigrams, with the project's trainer.

fix: a28b75f9
depth: live 60
expects: -
where: program
stands in: cached_path, pandas and bettermap (imported only)
needs: dataclass-extensions, importlib_resources, requests, urllib3, certifi
"""

import struct
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

from olmo_core.data import TokenizerConfig
from olmo_core.data.composable import (
    ComposableDataLoaderConfig,
    ConcatAndChunkInstanceSourceConfig,
    NgramSoftTargetInstanceSourceConfig,
)
from olmo_core.nn.transformer import TransformerConfig
from olmo_core.optim import AdamWConfig, LinearWithWarmup
from olmo_core.train import Duration, TrainerConfig, prepare_training_environment
from olmo_core.train.callbacks import ConsoleLoggerCallback
from olmo_core.train.train_module import TransformerTrainModuleConfig

SEQUENCE_LENGTH, VOCABULARY, CANDIDATES = 32, 300, 8


def write_corpus(path, rng):
    documents = []
    for _ in range(40):
        words = [rng.integers(2, VOCABULARY)]
        for _ in range(rng.integers(10, 90)):
            words.append(2 + (words[-1] * 7 + rng.integers(0, 5)) % (VOCABULARY - 2))
        documents.append(np.array([*words, 0]))
    tokens = np.concatenate(documents).astype(np.uint16)
    tokens.tofile(path)
    return tokens


def write_bigrams(path, tokens):
    counts = np.full((VOCABULARY, VOCABULARY), 0.01)
    np.add.at(counts, (tokens[:-1], tokens[1:]), 1)
    prefixes, start, headers, blocks = np.unique(tokens).astype(np.uint32), 64 * 3, b"", b""
    for order, rows in ((1, counts.sum(0, keepdims=True)), (2, counts[prefixes])):
        logs = np.log10(rows / rows.sum(1, keepdims=True))
        best = np.argsort(-logs, axis=1)[:, :CANDIDATES]
        offsets = []
        found = prefixes if order == 2 else prefixes[:0]
        for block in (found, best.astype(np.uint32), np.take_along_axis(logs, best, 1).astype(np.float32)):
            offsets.append(start + len(blocks))
            blocks += block.tobytes()
        headers += struct.pack("<II QQQQ", order, 0, len(rows), *offsets).ljust(64, b"\0")
    path.write_bytes(struct.pack("<4sIIII", b"FXTK", 1, CANDIDATES, 2, VOCABULARY).ljust(64, b"\0") + headers + blocks)


def main():
    prepare_training_environment(seed=0, backend=None)
    folder = Path(tempfile.mkdtemp())
    tokens = write_corpus(folder / "corpus.npy", np.random.default_rng(0))
    write_bigrams(folder / "forward_index_topk.bin", tokens)
    tokenizer = TokenizerConfig(vocab_size=VOCABULARY, eos_token_id=0, pad_token_id=1)

    model = TransformerConfig.llama_like(
        d_model=64, vocab_size=tokenizer.padded_vocab_size(), n_layers=2, n_heads=4
    ).build(init_device="cpu")
    train_module = TransformerTrainModuleConfig(
        rank_microbatch_size=4 * SEQUENCE_LENGTH,
        max_sequence_length=SEQUENCE_LENGTH,
        optim=AdamWConfig(lr=1e-3),
        z_loss_multiplier=1e-5,
        soft_ce_alpha_start=0.9,
        soft_ce_alpha_ramp_fraction=0.5,
        max_grad_norm=1.0,
        scheduler=LinearWithWarmup(warmup_steps=2),
    ).build(model)
    base = ConcatAndChunkInstanceSourceConfig.from_npy(
        str(folder / "corpus.npy"), tokenizer=tokenizer, sequence_length=SEQUENCE_LENGTH
    )
    source = NgramSoftTargetInstanceSourceConfig(source=base, table_dir=str(folder), K=CANDIDATES, N_max=2)
    data_loader = ComposableDataLoaderConfig(
        tokenizer=tokenizer, global_batch_size=8 * SEQUENCE_LENGTH, seed=0, work_dir=str(folder / "work")
    ).build(source.build(folder / "work"))
    trainer = (
        TrainerConfig(save_folder=str(folder / "run"), max_duration=Duration.epochs(3), metrics_collect_interval=2)
        .with_callback("console", ConsoleLoggerCallback(metrics_log_interval=2))
        .build(train_module, data_loader)
    )
    trainer.fit()


if __name__ == "__main__":
    main()
