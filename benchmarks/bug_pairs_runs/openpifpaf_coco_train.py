"""Run the project's own script that trains on pictures of people, in the format of COCO.

fix: b3428b8a
depth: live 60
expects: TW555
where: openpifpaf/datasets.py
stands in: torchvision's transforms and ResNet, COCO's API, matplotlib, pysparkling, pythonjsonlogger, the compiled
  module and numpy's old names
"""

import json
import logging
import random
import sys
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from stand_ins import HERE, stand_in
from torch import nn


class COCO:
    def __init__(self, path):
        content = json.loads((HERE / path).read_text())
        self.images = {image["id"]: image for image in content["images"]}
        self.annotations = {annotation["id"]: annotation for annotation in content["annotations"]}
        self.getCatIds = lambda catNms: [1]
        self.getImgIds = lambda catIds: list(self.images)
        self.loadImgs = lambda key: [self.images[key]]
        self.loadAnns = lambda ids: [self.annotations[key] for key in ids]

    def getAnnIds(self, imgIds, catIds):
        return [key for key, annotation in self.annotations.items() if annotation["image_id"] == imgIds]


class Compose:
    def __init__(self, steps, p=1.0):
        self.steps, self.p = steps, p

    def __call__(self, image):
        for step in self.steps if random.random() < self.p else ():
            image = step(image)
        return image


def resnet(pretrained):
    blocks = [nn.Sequential(nn.Conv2d(8, 8, 3, s, 1), nn.BatchNorm2d(8), nn.ReLU()) for s in (1, 2, 2, 2)]
    return nn.Sequential(nn.Conv2d(3, 8, 7, 2, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3), *blocks)


transforms = stand_in("torchvision.transforms", Compose=Compose, RandomApply=Compose, Lambda=lambda function: function)
transforms.ToTensor = lambda: lambda image: torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
transforms.Normalize = lambda mean, std: lambda image: (image - image.new_tensor(mean)[:, None, None]) / std[0]
transforms.ColorJitter = lambda **sizes: lambda image: ImageEnhance.Brightness(image).enhance(random.uniform(0.9, 1.1))
transforms.RandomGrayscale = lambda p: Compose([lambda image: image.convert("L").convert("RGB")], p)
transforms.Resize = lambda size, mode: lambda image: image.resize(size, mode)
transforms.functional = SimpleNamespace(pad=lambda image, border, fill: ImageOps.expand(image, border, fill))
transforms.functional.resize = lambda image, size, mode: image.resize(size[::-1], mode)
stand_in("torchvision.models", resnet50=resnet)
stand_in("pycocotools.coco", COCO=COCO)
stand_in("pythonjsonlogger", jsonlogger=SimpleNamespace(JsonFormatter=lambda text: logging.Formatter()))
sys.modules["openpifpaf.functional"] = stand_in("functional")
for name in ("matplotlib", "matplotlib.pyplot", "mpl_toolkits.axes_grid1", "pysparkling"):
    stand_in(name)
np.int, np.float = int, float
from openpifpaf import train


def write_pictures(split, count):
    folder = HERE / f"data-mscoco/images/{split}2017"
    folder.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for key in range(count):
        width, height = random.randint(100, 160), random.randint(100, 160)
        Image.fromarray(np.random.randint(0, 255, (height, width, 3), np.uint8)).save(folder / f"{key}.jpg")
        images.append({"id": key, "file_name": f"{key}.jpg"})
        for _ in range(random.randint(1, 3)):
            points = np.random.uniform((0, 0, 0), (width, height, 3), (17, 3)).astype(int)
            box = [*points[:, :2].min(0).tolist(), *np.ptp(points[:, :2], 0).tolist()]
            annotation = {"id": len(annotations), "image_id": key, "category_id": 1, "iscrowd": 0, "bbox": box}
            annotations.append({**annotation, "keypoints": points.flatten().tolist(), "segmentation": [box]})
    path = HERE / f"data-mscoco/annotations/person_keypoints_{split}2017.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations}))


write_pictures("train", 22)
write_pictures("val", 9)
options = "--basenet resnet50block5 --no-pretrain --square-edge 97 --batch-size 4 --epochs 2 --loader-workers 1"
sys.argv = ["train", *options.split(), "--output", "model.pkl"]
train.main()
