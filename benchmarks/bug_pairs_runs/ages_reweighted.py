"""Train the age regression with inverse re-weighting and the focal loss by the project's script on invented faces.

fix: a6fdc45d
depth: live 60
expects: -
where: program
stands in: pandas, torchvision, tensorboard_logger; a shallower ResNet for smaller faces; the card's .cuda()
"""

import importlib.machinery
import os
import runpy
import sys
import tempfile

import numpy as np
import torch
from PIL import Image
from stand_ins import stand_in

torch.Tensor.cuda = torch.nn.Module.cuda = lambda self, *args, **kwargs: self
rng = np.random.default_rng(0)
torch.manual_seed(0)
folder = tempfile.mkdtemp()


class Rows:
    """As much of a pandas table or column as the project uses."""

    def __init__(self, rows):
        self.rows = rows
        self.iloc = rows
        self.values = np.array(rows)

    def __len__(self):
        return len(self.rows)

    def __iter__(self):
        return iter(self.rows)

    def __eq__(self, other):
        return [row == other for row in self.rows]

    def __getitem__(self, key):
        if isinstance(key, str):
            return Rows([row[key] for row in self.rows])
        return Rows([row for row, wanted in zip(self.rows, key) if wanted])


class Compose:
    def __init__(self, steps):
        self.steps = steps

    def __call__(self, image):
        for step in self.steps:
            image = step(image)
        return image


def read_csv(path):
    counts = {"train": {30: 104, 45: 24, 70: 6}, "val": {30: 4, 45: 4, 70: 4}, "test": {30: 4, 45: 4, 70: 4}}
    rows = []
    for split, ages in counts.items():
        for age, count in ages.items():
            for _ in range(count):
                name = f"{len(rows)}.png"
                face = rng.normal(age * 2, 30, (28, 28, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(face).save(os.path.join(folder, name))
                rows.append({"path": name, "age": age, "split": split})
    return Rows(rows)


def resize(size):
    return lambda image: image.resize(size, Image.NEAREST)


def random_crop(size, padding):
    def crop(image):
        wide = Image.new("RGB", (size + 2 * padding, size + 2 * padding))
        wide.paste(image, (padding, padding))
        left, top = torch.randint(2 * padding + 1, (2,)).tolist()
        return wide.crop((left, top, left + size, top + size))

    return crop


def flip():
    return lambda image: image.transpose(Image.FLIP_LEFT_RIGHT) if torch.rand(1) < 0.5 else image


def to_tensor():
    return lambda image: torch.tensor(np.array(image)).permute(2, 0, 1).float() / 255


def normalize(mean, std):
    return lambda image: (image - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


class Logger:
    def __init__(self, logdir, flush_secs):
        pass

    def log_value(self, name, value, step):
        pass


transforms = stand_in(
    "torchvision.transforms", Compose=Compose, Resize=resize, RandomCrop=random_crop, RandomHorizontalFlip=flip,
    ToTensor=to_tensor, Normalize=normalize,
)  # fmt: skip
stand_in("torchvision", transforms=transforms)
stand_in("tensorboard_logger", Logger=Logger)
stand_in("pandas", read_csv=read_csv, __spec__=importlib.machinery.ModuleSpec("pandas", None))

os.chdir("agedb-dir")
sys.path.insert(0, os.getcwd())
import resnet


def shallow(**options):
    model = resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1], **options)
    model.avgpool = torch.nn.AdaptiveAvgPool2d(1)
    return model


resnet.resnet50 = shallow
sys.argv = ["train.py", "--data_dir", folder, "--store_root", folder, "--reweight", "inverse", "--loss", "focal_l1"]
sys.argv += ["--epoch", "2", "--batch_size", "16", "--workers", "0", "--lr", "0.001", "--print_freq", "3"]
sys.argv += ["--img_size", "64"]
runpy.run_path("train.py", run_name="__main__")
