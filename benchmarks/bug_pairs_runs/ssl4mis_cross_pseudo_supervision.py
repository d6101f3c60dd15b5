"""Train two networks on each other's pseudo labels with the project's script, on random volumes with a bright ball.

fix: 9c36a7fc
depth: live 60
expects: TW396
where: code/train_cross_pseudo_supervision_3D.py
stands in: h5py (volumes made up when read), torchvision's Compose, CUDA (stays on the CPU), packages for metrics
needs: tensorboardX
"""

import os
import sys
from pathlib import Path

import numpy as np
import torch
from stand_ins import HERE, load, stand_in

torch.Tensor.cuda = lambda self: self
torch.nn.Module.cuda = lambda self: self


class File(dict):
    def __init__(self, path, mode):
        random = np.random.RandomState(int(Path(path).stem.split("_")[1]))
        shape = random.randint(34, 44, 3)
        center, radius = random.randint(12, 30, 3), random.randint(6, 11)
        ball = (
            sum((axis - c) ** 2 for axis, c in zip(np.ogrid[tuple(map(slice, shape))], center, strict=True)) < radius**2
        )
        image = random.randn(*shape) + 2.0 * ball
        super().__init__(image=image.astype(np.float32), label=ball.astype(np.uint8))


class Compose:
    def __init__(self, steps):
        self.steps = steps

    def __call__(self, sample):
        for step in self.steps:
            sample = step(sample)
        return sample


stand_in("h5py", File=File)
stand_in("torchvision.transforms", Compose=Compose)
stand_in("torchvision.utils")
for name in ("skimage.measure", "medpy.metric", "nibabel", "SimpleITK"):
    stand_in(name)

data = HERE / "data" / "BraTS2019"
data.mkdir(parents=True, exist_ok=True)
(data / "train.txt").write_text("".join(f"BraTS19_{i}\n" for i in range(250)))

os.chdir(HERE / "code")
sys.path.insert(0, str(HERE / "code"))
sys.argv = ["train.py", "--max_iterations", "10", "--labeled_num", "7", "--labeled_bs", "2", "--root_path", str(data)]
script = load("code/train_cross_pseudo_supervision_3D.py", "train_cross_pseudo_supervision_3D")
script.args.patch_size = [32, 32, 32]
np.random.seed(script.args.seed)
torch.manual_seed(script.args.seed)
snapshot_path = HERE / "model"
snapshot_path.mkdir(exist_ok=True)
script.logging.basicConfig(level=script.logging.INFO, stream=sys.stdout)
if __name__ == "__main__":
    script.train(script.args, str(snapshot_path))
