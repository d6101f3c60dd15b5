"""Run the project's copying memory task with a small temporal convolutional network.

fix: 0a93cfd4
depth: live 60
expects: -
where: program
stands in: how torch before 0.4 read a number out of a tensor
"""

import runpy
import sys

import numpy as np
import torch

getitem = torch.Tensor.__getitem__
torch.Tensor.__getitem__ = lambda self, at: self if self.dim() == 0 and at == 0 else getitem(self, at)

np.random.seed(0)
torch.manual_seed(0)
sys.argv = ["copymem_test.py", "--cuda", "--batch_size", "400", "--epochs", "3", "--levels", "4", "--ksize", "4"]
sys.argv += ["--blank_len", "30", "--seq_len", "5", "--log-interval", "5", "--lr", "2e-3"]
runpy.run_path("TCN/copy_memory/copymem_test.py", run_name="__main__")
