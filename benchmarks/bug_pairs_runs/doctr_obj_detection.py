"""Run the project's script that trains an object detector, on pictures with colored boxes in a DocArtefacts folder.

fix: bc03a0fe
depth: live 60
expects: TW555
where: doctr/datasets/datasets/base.py
stands in: torchvision's transforms, the detector (a small convolutional network), the download of the data, wandb,
  fastprogress; cv2 and unidecode, which are not used here
"""

import json
import random
import runpy
import sys
from functools import reduce
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from stand_ins import HERE, load, package, stand_in
from torch import nn

CLASSES = ["qr_code", "bar_code", "logo", "photo"]


class Resize(nn.Module):
    def __init__(self, size, interpolation):
        super().__init__()
        self.size = size

    def forward(self, image):
        return nn.functional.interpolate(image[None], self.size, mode="bilinear", antialias=True)[0]


class RandomHorizontalFlip(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p


class Detector(nn.Module):
    def __init__(self, pretrained, num_classes):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 16, 5, 4), nn.ReLU(), nn.Conv2d(16, 16, 3, 2), nn.ReLU(), nn.Flatten())
        self.head = nn.LazyLinear(4 * (num_classes + 4))

    def forward(self, images, targets=None):
        out = self.head(self.body(images)).view(len(images), 4, -1)
        scores, boxes = out[..., :-4], out[..., -4:].sigmoid()
        if targets is None:
            return [{"labels": s.argmax(-1), "boxes": b * images.shape[-1]} for s, b in zip(scores, boxes)]
        scores = torch.cat([s[: len(target["labels"])] for s, target in zip(scores, targets)])
        boxes = torch.cat([b[: len(target["labels"])] for b, target in zip(boxes, targets)])
        labels = torch.cat([target["labels"] for target in targets])
        corners = torch.cat([target["boxes"] for target in targets]) / images.shape[-1]
        losses = {"loss_classifier": nn.functional.cross_entropy(scores, labels)}
        return {**losses, "loss_box_reg": nn.functional.smooth_l1_loss(boxes, corners)}


def pictures(folder, size):
    (folder / "images").mkdir(parents=True, exist_ok=True)
    labels = {}
    for index in range(size):
        pixels, labels[f"{index}.png"] = np.random.randint(200, 256, (80, 60, 3), np.uint8), []
        for kind in np.random.choice(4, np.random.randint(1, 5), replace=False):
            x, y = np.random.uniform(0.0, 0.5, 2)
            right, bottom = (x, y) + np.random.uniform(0.15, 0.5, 2)
            pixels[int(y * 80) : int(bottom * 80), int(x * 60) : int(right * 60)] = 60 * kind
            labels[f"{index}.png"].append({"geometry": [x, y, right, bottom], "label": CLASSES[kind]})
        Image.fromarray(pixels).save(folder / "images" / f"{index}.png")
    (folder / "labels.json").write_text(json.dumps(labels))


class Bar(list):
    write = staticmethod(print)
    child = SimpleNamespace()


def to_tensor(image):
    return torch.tensor(np.asarray(image), dtype=torch.float32).permute(2, 0, 1) / 255


def compose(transforms):
    return lambda image: reduce(lambda changed, transform: transform(changed), transforms, image)


def jitter(brightness, **others):
    return lambda image: (image * random.uniform(1 - brightness, 1 + brightness)).clamp(0, 1)


def blur(**options):
    return lambda image: nn.functional.avg_pool2d(image, 3, 1, padding=1)


np.Inf = np.inf
random.seed(0)
np.random.seed(0)
torch.manual_seed(0)
pictures(Path("data/artefacts/train"), 21)
pictures(Path("data/artefacts/val"), 7)
stand_in("torchvision.transforms", Compose=compose, ColorJitter=jitter, GaussianBlur=blur)
stand_in("torchvision.transforms.functional", to_tensor=to_tensor, hflip=lambda image: image.flip(-1))
stand_in("torchvision.transforms.transforms", Resize=Resize, RandomHorizontalFlip=RandomHorizontalFlip)
sys.modules["torchvision.transforms.functional"].InterpolationMode = SimpleNamespace(BILINEAR="bilinear")
for name in ("cv2", "unidecode", "wandb", "utils"):
    stand_in(name)
stand_in("fastprogress.fastprogress", master_bar=Bar, progress_bar=lambda loader, parent: loader)
for name in ("", "/io", "/utils", "/datasets", "/models"):
    package("doctr" + name.replace("/", "."), HERE / ("doctr" + name))
package("doctr.io").read_img_as_tensor = import_module("doctr.io.image").read_img_as_tensor
package("doctr.datasets").DocArtefacts = load("doctr/datasets/doc_artefacts.py").DocArtefacts
package("doctr.utils").DetectionMetric = load("doctr/utils/metrics.py").DetectionMetric
sys.modules["doctr.datasets.datasets.base"].download_from_url = lambda *args, **kwargs: "data/artefacts.zip"
stand_in("doctr.models.obj_detection", detector=Detector)
script = str(HERE / "references/obj_detection/train_pytorch.py")
sys.argv = [script, "detector", "--epochs", "3", "-b", "4", "-j", "0", "--input_size", "64", "--lr", "0.02"]
runpy.run_path(script, run_name="__main__")
