"""Run the project's train.py for speech recognition, which evaluates the loss after each epoch.

fix: ba51ea8d
depth: live 60
expects: -
where: program
stands in: the data set (random frames and phones), tensorboardX, matplotlib, seaborn, sentencepiece, warpctc, a
  graphics card, and what newer Python, yaml and torch no longer take
needs: six
"""

import functools
import random
import runpy
import sys
import types
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import torch
import yaml
from stand_ins import HERE, package, stand_in


class Utterances:
    num_classes, num_classes_sub, input_dim, is_test = 20, 0, 12, False

    def __init__(self, csv_path, batch_size, **kwargs):
        self.set, self.batch_size, self.epoch, self.offset = csv_path, batch_size, 0, 0
        self.ys = [random.choices(range(5, self.num_classes), k=random.randint(3, 8)) for _ in range(38)]
        self.xs = [np.random.randn(6 * len(y) + 20, self.input_dim).astype(np.float32) for y in self.ys]
        self.order = sorted(range(38), key=lambda i: len(self.xs[i]))

    def __len__(self):
        return len(self.ys)

    @property
    def epoch_detail(self):
        return self.epoch + self.offset / len(self)

    def reset(self):
        self.offset = 0

    def next(self, batch_size=None):
        rows = self.order[self.offset : self.offset + (batch_size or self.batch_size)]
        self.offset, self.current_batch_size = self.offset + len(rows), len(rows)
        is_new_epoch = self.offset >= len(self)
        if is_new_epoch:
            self.reset()
            self.epoch += 1
        xs, ys = [self.xs[row] for row in rows], [self.ys[row] for row in rows]
        return {"xs": xs, "ys": ys, "ys_sub": [], "utt_ids": [f"utterance{row}" for row in rows]}, is_new_epoch


package("neural_sp", HERE / "neural_sp")
package("neural_sp.models", HERE / "neural_sp/models")
stand_in("neural_sp.datasets.loader_asr", Dataset=Utterances)
stand_in("tensorboardX", SummaryWriter=lambda path: MagicMock())
stand_in("matplotlib", use=print, pyplot=MagicMock())
stand_in("seaborn")
stand_in("sentencepiece")
stand_in("warpctc_pytorch")
utils = sys.modules["neural_sp.models.utils"] = types.ModuleType("neural_sp.models.utils")
exec((HERE / "neural_sp/models/utils.py").read_text().replace("async", "non_blocking"), vars(utils))
yaml.load = functools.partial(yaml.load, Loader=yaml.FullLoader)
torch.nn.modules.loss._assert_no_grad = lambda tensor: None
torch.nn.Module.cuda = lambda self: self

small = {
    "enc_num_units": 16, "enc_num_layers": 2, "subsample": [False, True], "att_dim": 16, "att_conv_num_channels": 4,
    "att_conv_width": 11, "dec_num_units": 16, "emb_dim": 8, "batch_size": 8, "num_epochs": 3, "print_step": 2,
    "eval_start_epoch": 1, "metric": "loss", "lsm_prob": 0.0, "ss_prob": 0.0, "dict_": None,
}  # fmt: skip
parent = "examples/timit/s5/conf/attention/bgru_att_phone61.yml"
Path("small.yml").write_text(yaml.dump({"parent": parent, "param": small}))
Path("phones.txt").write_text("".join(f"phone{i} {i}\n" for i in range(5, 20)))
script = str(HERE / "neural_sp/bin/asr/train.py")
sys.argv = [script, "--ngpus", "1", "--config", "small.yml", "--model", "models", "--label_type", "phone"]
sys.argv += ["--train_set", "train.csv", "--dev_set", "dev.csv", "--dict", "phones.txt"]
runpy.run_path(script, run_name="__main__")
