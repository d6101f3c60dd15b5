"""Run the project's own script for classification, on point clouds of random shapes.

fix: 4df92082
depth: live 60
expects: TW356
where: train_classification.py
stands in: torchvision, matplotlib and progressbar (imported only), CUDA (stays on the CPU)
"""

import runpy
import sys
from pathlib import Path

import numpy as np
import torch
from stand_ins import HERE, stand_in

for name in ("matplotlib.pyplot", "torchvision.datasets", "torchvision.transforms", "torchvision.utils", "progressbar"):
    stand_in(name)
torch.Tensor.cuda = lambda self: self
torch.nn.Module.cuda = lambda self: self

root = Path("shapenetcore_partanno_segmentation_benchmark_v0")
shapes = {"Airplane": (1.0, 0.2, 0.6), "Chair": (0.5, 1.0, 0.5), "Lamp": (0.2, 1.0, 0.2)}
root.mkdir(exist_ok=True)
(root / "synsetoffset2category.txt").write_text("".join(f"{name}\t{name.lower()}\n" for name in shapes))
for name, scale in shapes.items():
    for folder in ("points", "points_label"):
        (root / name.lower() / folder).mkdir(parents=True, exist_ok=True)
    for i in range(20):
        count = np.random.randint(150, 300)
        points = np.random.randn(count, 3) * scale + 0.05 * np.random.randn(3)
        np.savetxt(root / name.lower() / "points" / f"{i:03d}.pts", points, fmt="%.5f")
        np.savetxt(root / name.lower() / "points_label" / f"{i:03d}.seg", np.random.randint(1, 4, count), fmt="%d")

script = str(HERE / "train_classification.py")
sys.argv = [script, "--batchSize", "8", "--num_points", "128", "--nepoch", "3", "--workers", "0"]
runpy.run_path(script, run_name="__main__")
