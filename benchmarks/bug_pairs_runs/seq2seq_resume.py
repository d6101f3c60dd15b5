"""Train a small model with the project's trainer, interrupt it, and resume from its checkpoint.

fix: 61818cf9
depth: live 16
expects: TW351
where: seq2seq/trainer/supervised_trainer.py, seq2seq/optim/optim.py
stands in: torchtext's iterator, dill (by pickle), torch's old default for loading whole objects, and
  its old way to read a number
"""

import contextlib
import os
import pickle
import sys
from types import SimpleNamespace

os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
import torch
from stand_ins import stand_in
from torch import nn


class BucketIterator:
    left = 8  # batches until somebody interrupts the training, in its second epoch

    def __init__(self, **kwargs):
        pass

    def __len__(self):
        return 4

    def __iter__(self):
        for _ in range(4):
            BucketIterator.left -= 1
            if not BucketIterator.left:
                raise KeyboardInterrupt
            tokens = torch.randint(2, 20, (8, 6))
            yield SimpleNamespace(src=(tokens, torch.full((8,), 6)), tgt=tokens)


sys.modules["dill"] = pickle
data = stand_in("torchtext.data", BucketIterator=BucketIterator)
stand_in("torchtext", data=data)
if not hasattr(nn.utils, "clip_grad_norm"):
    nn.utils.clip_grad_norm = nn.utils.clip_grad_norm_
from seq2seq.loss import NLLLoss
from seq2seq.trainer import SupervisedTrainer


class Loss(NLLLoss):
    def get_loss(self):
        return float(self.acc_loss) / self.norm_term


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.head = nn.Linear(16, 20)

    def forward(self, tokens, lengths, targets, teacher_forcing_ratio=0):
        scores = self.head(self.embed(tokens)).log_softmax(-1)
        return [scores[:, at] for at in range(5)], None, {"length": [5] * len(tokens)}


vocab = SimpleNamespace(vocab={"a": 1})
dataset = SimpleNamespace(fields={"src": vocab, "tgt": vocab})
trainer = SupervisedTrainer(expt_dir="experiment", batch_size=8, checkpoint_every=6, loss=Loss())
with contextlib.suppress(KeyboardInterrupt):
    trainer.train(Tagger(), dataset, num_epochs=2)
trainer = SupervisedTrainer(expt_dir="experiment", batch_size=8, checkpoint_every=100, loss=Loss())
trainer.train(Tagger(), dataset, num_epochs=4, resume=True)
