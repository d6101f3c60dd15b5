"""Run the project's training script of the hierarchical autoencoder on invented pictures.

fix: 0fd7dd2e
depth: live 60
expects: -
where: program
stands in: matplotlib; the folder of pictures with cv2 and h5py
"""

import runpy
import sys

import torch
from stand_ins import stand_in
from torch.utils.data import Dataset

torch.manual_seed(0)


class Faces(Dataset):
    def __init__(self, image_dir, img_dim):
        at = torch.linspace(-1, 1, img_dim)
        centre = torch.rand(24, 2, 1, 1) - 0.5
        disc = ((at[:, None] - centre[:, 0]) ** 2 + (at[None, :] - centre[:, 1]) ** 2 < 0.2).float()
        self.images = disc[:, None] * torch.rand(24, 3, 1, 1)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


stand_in("matplotlib")
stand_in("matplotlib.pyplot")

import nvae  # noqa: F401 - before the stand-in of its part

stand_in("nvae.dataset", ImageFolderDataset=Faces)

sys.argv = ["train.py", "--epochs", "2", "--batch_size", "6", "--dataset_path", "faces", "--n_cpu", "0"]
runpy.run_path("train.py", run_name="__main__")
