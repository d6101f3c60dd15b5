"""Run the project's train.py for speech recognition with its small configuration.

fix: bcb4f523
depth: live 60
expects: -
where: program
stands in: the data set (random frames and letters), tensorboardX, matplotlib, setproctitle
needs: configargparse
"""

import contextlib
import random
import runpy
import sys
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
from stand_ins import HERE, package, stand_in

LETTERS = "abcdefghij"


class Utterances:
    vocab, vocab_sub1, vocab_sub2, input_dim, corpus, unit = len(LETTERS) + 4, -1, -1, 12, "", "char"

    def __init__(self, tsv_path, batch_size, n_epochs=1e10, **kwargs):
        self.set, self.batch_size, self.max_epoch = Path(tsv_path).stem, batch_size, n_epochs
        self.idx2token, self.epoch, self.offset = [lambda ids: "".join(LETTERS[i - 4] for i in ids)], 0, 0
        self.ys = [random.choices(range(4, self.vocab), k=random.randint(3, 8)) for _ in range(38)]
        self.xs = [np.random.randn(10 * len(y) + 20, self.input_dim).astype(np.float32) for y in self.ys]
        self.order = sorted(range(38), key=lambda i: len(self.xs[i]))

    def __len__(self):
        return len(self.ys)

    @property
    def epoch_detail(self):
        return self.offset / len(self)

    def reset(self, batch_size=None):
        self.offset = 0

    def next(self, batch_size=None):
        if self.epoch >= self.max_epoch:
            raise StopIteration
        rows = self.order[self.offset : self.offset + (batch_size or self.batch_size)]
        self.offset += len(rows)
        is_new_epoch = self.offset >= len(self)
        if is_new_epoch:
            self.reset()
            self.epoch += 1
        names = [f"utterance{row}" for row in rows]
        batch = dict.fromkeys(["utt_ids", "speakers", "sessions", "feat_path"], names) | {"ys_sub1": [], "ys_sub2": []}
        batch |= {"xs": [self.xs[row] for row in rows], "xlens": [len(self.xs[row]) for row in rows]}
        batch |= {"ys": [self.ys[row] for row in rows], "text": [self.idx2token[0](self.ys[row]) for row in rows]}
        return batch, is_new_epoch


package("neural_sp", HERE / "neural_sp")
stand_in("neural_sp.datasets.asr", Dataset=Utterances)
stand_in("tensorboardX", SummaryWriter=lambda path: MagicMock())
stand_in("matplotlib", use=print, pyplot=MagicMock())
stand_in("setproctitle", setproctitle=print)
Path("dict.txt").write_text("<unk> 1\n<eos> 2\n<pad> 3\n" + "".join(f"{c} {i}\n" for i, c in enumerate(LETTERS, 4)))
options = {
    "config": "examples/ci_test/conf/asr/blstm_las.yaml", "n_gpus": 0, "unit": "char", "dict": "dict.txt",
    "train_set": "train.tsv", "dev_set": "dev.tsv", "model_save_dir": "models", "metric": "loss",
    "batch_size": 8, "accum_grad_n_steps": 2, "n_epochs": 4, "print_step": 4, "eval_start_epoch": 1,
    "enc_type": "blstm", "ctc_weight": 0, "stdout": "true",
}  # fmt: skip
script = str(HERE / "neural_sp/bin/asr/train.py")
sys.argv = [script] + [f"--{name}={value}" for name, value in options.items()]
with contextlib.suppress(StopIteration):  # the data set's word for the end of its last epoch
    runpy.run_path(script, run_name="__main__")
