"""Caption a folder of invented pictures with the project's own eval.py.

fix: 423f8fa7
depth: live 60
expects: TW703
where: dataloaderraw.py
stands in: skimage (reading by PIL), torchvision's normalization, six, h5py and scipy.misc (imported only), the device's
  copies, and weights and captioning model (freshly made and saved)
"""

import os
import pickle
import runpy
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from stand_ins import HERE, stand_in


class Normalize:
    def __init__(self, mean, std):
        self.mean, self.std = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))

    def __call__(self, picture):
        return (picture - self.mean) / self.std


class Compose:
    def __init__(self, steps):
        self.steps = steps

    def __call__(self, picture):
        for step in self.steps:
            picture = step(picture)
        return picture


def imread(path):
    return np.array(Image.open(path))


def load_pickle(file):
    return pickle.load(file.buffer)  # eval.py opens the file as text, which Python 2 did not mind


stand_in("skimage", io=stand_in("skimage.io", imread=imread))
stand_in("torchvision", transforms=stand_in("torchvision.transforms", Compose=Compose, Normalize=Normalize))
stand_in("six.moves", cPickle=SimpleNamespace(load=load_pickle, dump=pickle.dump))
stand_in("h5py")
stand_in("scipy.misc")
torch.Tensor.cuda = torch.nn.Module.cuda = lambda self: self

import misc.resnet
import models
import opts

torch.manual_seed(0)
np.random.seed(0)
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    for name in ("data/imagenet_weights", "pictures", "vis/imgs"):
        Path(name).mkdir(parents=True)
    torch.save(misc.resnet.resnet50().state_dict(), "data/imagenet_weights/resnet50.pth")
    for number in range(10):
        height, width = np.random.randint(96, 200, 2)
        channels = () if number == 3 else (3,)
        pixels = np.random.randint(0, 256, (height, width, *channels), dtype=np.uint8)
        Image.fromarray(pixels).save(f"pictures/{number}.png")

    sys.argv = ["train.py", "--id", "td", "--caption_model", "topdown", "--rnn_size", "48", "--att_hid_size", "32"]
    sys.argv += ["--input_encoding_size", "48", "--batch_size", "4"]
    options = opts.parse_opt()
    options.vocab_size, options.seq_length = 60, 12
    torch.save(models.setup(options).state_dict(), "model.pth")
    vocabulary = {str(index): f"word{index}" for index in range(1, 61)}
    Path("infos.pkl").write_bytes(pickle.dumps({"opt": options, "vocab": vocabulary}))

    script = str(HERE / "eval.py")
    sys.argv = [script, "--model", "model.pth", "--infos_path", "infos.pkl", "--image_folder", "pictures"]
    sys.argv += ["--cnn_model", "resnet50", "--num_images", "-1"]
    runpy.run_path(script, run_name="__main__")
    os.chdir(HERE)
