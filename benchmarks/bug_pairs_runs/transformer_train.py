"""Train the transformer for translation by the project's own script, on invented sentences.

fix: 391c9cd4
depth: rehearse
expects: TW122
where: models/layers/multi_head_attention.py
stands in: the project's data module (torchtext's Multi30k, spacy), torch's old name of an initialisation
"""

import random
from types import SimpleNamespace

import torch
from stand_ins import HERE, stand_in
from torch import nn, optim

random.seed(0)
torch.manual_seed(0)
words = ["<unk>", "<pad>", "<sos>", "<eos>", *(f"w{i}" for i in range(40))]
vocab = SimpleNamespace(itos=words, stoi={word: i for i, word in enumerate(words)})
batch_size, epoch = 8, 3


class Batches:
    def __init__(self, count):
        self.pairs = [self.sentence() for _ in range(count)]

    def sentence(self):
        source = [random.randint(4, len(words) - 1) for _ in range(random.randint(4, 12))]
        return [2, *source, 3], [2, *reversed(source), 3]

    def __len__(self):
        return -(-len(self.pairs) // batch_size)

    def __iter__(self):
        random.shuffle(self.pairs)
        for start in range(0, len(self.pairs), batch_size):
            source, target = zip(*self.pairs[start : start + batch_size])
            yield SimpleNamespace(src=self.pad(source), trg=self.pad(target))

    def pad(self, rows):
        return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=1)


class Plateau(optim.lr_scheduler.ReduceLROnPlateau):
    def __init__(self, optimizer, verbose=False, **options):
        super().__init__(optimizer, **options)


nn.init.kaiming_uniform = nn.init.kaiming_uniform_
optim.lr_scheduler.ReduceLROnPlateau = Plateau
(HERE / "result").mkdir(exist_ok=True)
(HERE / "saved").mkdir(exist_ok=True)
values = {
    "batch_size": batch_size, "max_len": 32, "d_model": 32, "n_layers": 2, "n_heads": 4, "ffn_hidden": 64,
    "drop_prob": 0.1, "init_lr": 1e-3, "factor": 0.9, "adam_eps": 5e-9, "patience": 10, "warmup": 1, "epoch": epoch,
    "clip": 1.0, "weight_decay": 5e-4, "inf": float("inf"), "device": torch.device("cpu"),
    "loader": SimpleNamespace(source=SimpleNamespace(vocab=vocab), target=SimpleNamespace(vocab=vocab)),
    "src_pad_idx": 1, "trg_pad_idx": 1, "trg_sos_idx": 2, "enc_voc_size": len(words), "dec_voc_size": len(words),
    "torch": torch, "train_iter": Batches(44), "valid_iter": Batches(20), "test_iter": Batches(20),
}  # fmt: skip
stand_in("data", __all__=list(values), **values)
import train

train.run(total_epoch=epoch, best_loss=train.inf)
