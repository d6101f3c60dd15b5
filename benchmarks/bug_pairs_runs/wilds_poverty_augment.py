"""Train on PovertyMap with random augmentation by the project's own run_expt.py, on invented satellite images.

fix: 69f2d147
depth: live 60
expects: -
where: program
stands in: pandas, torchvision's transforms of tensors, torch_scatter, transformers
"""

import functools
import runpy
import sys
from pathlib import Path

import numpy as np
import torch
import torch._dynamo  # before pandas has its stand-in
from stand_ins import HERE, stand_in
from torch.nn import functional as F


class Column(np.ndarray):
    iloc = property(lambda self: self)

    def to_numpy(self):
        return np.asarray(self)


class Table(dict):
    def __len__(self):
        return len(self["country"])

    def __getitem__(self, name):
        values = self.get(name) if isinstance(name, str) else np.stack([self.get(key) for key in name], 1)
        return np.array(values).view(Column)

    def to_csv(self, path, **kwargs):
        pass


def read_csv(path):
    rows = np.genfromtxt(path, delimiter=",", names=True, dtype=None, encoding="utf-8")
    return Table({name: rows[name] for name in rows.dtype.names})


def compose(steps):
    return lambda x: functools.reduce(lambda value, step: step(value), steps, x)


def flip(axis):
    return lambda: lambda x: x.flip(axis) if torch.rand(1) < 0.5 else x


def affine(degrees, translate, shear, scale):
    def apply(x):
        turn, size, shift = np.random.uniform(-1, 1) * np.radians(degrees), np.random.uniform(*scale), translate[0]
        rows = [[np.cos(turn), -np.sin(turn), shift], [np.sin(turn), np.cos(turn), -shift]]
        theta = torch.tensor(rows, dtype=x.dtype)[None] / size
        return F.grid_sample(x[None], F.affine_grid(theta, [1, *x.shape], False), align_corners=False)[0]

    return apply


def color_jitter(brightness, contrast, saturation, hue):
    def apply(x):
        light, strength, color = np.random.uniform(1 - brightness, 1 + brightness, 3)
        x = (x * light).clamp(0, 1)
        x = (strength * x + (1 - strength) * x.mean()).clamp(0, 1)
        return (color * x + (1 - color) * x.mean(0, keepdim=True)).clamp(0, 1)

    return apply


def scatter(src, index, dim_size, reduce):
    return torch.zeros(dim_size, dtype=src.dtype).scatter_reduce(0, index, src, reduce, include_self=False)


stand_in("transformers", AdamW=torch.optim.AdamW)
stand_in("pandas", read_csv=read_csv, DataFrame=lambda predictions: Table())
stand_in("pandas.api.types")
stand_in("torch_scatter", scatter=scatter)
for name in ("ops", "ops.boxes", "models", "models.detection._utils", "transforms", "transforms.functional"):
    stand_in(f"torchvision.{name}")
steps = {"Compose": compose, "Lambda": lambda function: function, "ColorJitter": color_jitter, "RandomAffine": affine}
vars(sys.modules["torchvision.transforms"]).update(steps, RandomHorizontalFlip=flip(-1), RandomVerticalFlip=flip(-2))

rng = np.random.default_rng(0)
folder = Path("data/poverty_v1.1")
(folder / "images").mkdir(parents=True, exist_ok=True)
(folder / "RELEASE_v1.1.txt").touch()
lines = ["country,urban,wealthpooled"]
for countries, size in ((["cameroon", "ghana", "kenya"], 2900), (["benin", "guinea"], 240), (["angola", "mali"], 240)):
    lines += [f"{rng.choice(countries)},{rng.random() < 0.4:d},{rng.normal():.4f}" for _ in range(size)]
(folder / "dhs_metadata.csv").write_text("\n".join(lines) + "\n")
for index in range(len(lines) - 1):
    np.savez(folder / f"images/landsat_poverty_img_{index}.npz", x=rng.normal(size=(8, 32, 32)).astype(np.float16))

sys.path.insert(0, str(HERE / "examples"))
sys.argv = ["run_expt.py", "--dataset", "poverty", "--algorithm", "ERM", "--root_dir", "data", "--frac", "0.05"]
sys.argv += ["--additional_train_transform", "randaugment", "--n_epochs", "2", "--batch_size", "8"]
sys.argv += ["--loader_kwargs", "num_workers=0", "pin_memory=False"]
runpy.run_path(str(HERE / "examples/run_expt.py"), run_name="__main__")
