"""Run the project's own script that trains a continuous flow on toy data, with a small network.

fix: 657a8b9e
depth: live 60
expects: -
where: program
stands in: matplotlib, the project's old package for integration (by torchdiffeq)
needs: torchdiffeq, six
"""

import runpy
import sys
from unittest.mock import MagicMock

import torchdiffeq
from stand_ins import HERE

sys.modules["matplotlib"] = sys.modules["matplotlib.pyplot"] = MagicMock()
sys.modules["integrate"] = torchdiffeq

script = str(HERE / "train_toy.py")
sys.path.insert(0, str(HERE))
sys.argv = [script, "--data", "pinwheel", "--dims", "16-16", "--niters", "14", "--batch_size", "60"]
sys.argv += ["--val_freq", "7", "--test_batch_size", "100", "--atol", "1e-3", "--rtol", "1e-3", "--lr", "1e-2"]
runpy.run_path(script, run_name="__main__")
