"""Run the project's script that trains PointNet on semantic segmentation of rooms, on invented point clouds.

fix: a9cc4f30
depth: live 60
expects: TW356
where: utils.py
stands in: h5py (the files of the data set), pandas (the table of classes), matplotlib, moving to a GPU
"""

import runpy
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import torch
from stand_ins import stand_in
from torch import nn

ROOMS = 12  # blocks of points in each of the files


class Table(dict):
    def __init__(self, rows, columns):
        super().__init__(zip(columns, rows.T))

    def groupby(self, name):
        return {"mean_iou": self["mean_iou"]}


def read_file(name):
    data = np.random.rand(ROOMS, 256, 9).astype(np.float32)
    return {"data": data, "label": (data[..., 2] * 13).astype(np.uint8)}


stand_in("matplotlib.pyplot")
stand_in("h5py", File=read_file)
stand_in("pandas", DataFrame=Table, __spec__=ModuleSpec("pandas", None))
nn.Module.cuda = torch.Tensor.cuda = lambda self, *args, **options: self

folder = Path("data/indoor3d_sem_seg_hdf5_data")
folder.mkdir(parents=True, exist_ok=True)
Path(folder, "all_files.txt").write_text("".join(f"{folder.name}/rooms_{i}.h5\n" for i in range(3)))
areas = [1 + i % 6 for i in range(3 * ROOMS)]
Path(folder, "room_filelist.txt").write_text("".join(f"Area_{area}_office_{area}\n" for area in areas))

sys.argv = ["train_semseg.py", "--model_name", "pointnet", "--batchsize", "4", "--epoch", "3", "--workers", "0"]
runpy.run_path("train_semseg.py", run_name="__main__")
