"""Pretrain SwAV by the project's own main_swav.py, on invented pictures of several sizes.

fix: 51893367
depth: live 60
expects: TW665
where: examples/algorithms/swav/src/utils.py
stands in: DomainNet, torchvision's transforms of pictures, apex's LARC, pandas, matplotlib, transformers,
  GPU and nccl (CPU and gloo)
"""

import os
import sys
import tempfile
from types import SimpleNamespace

import numpy as np
import torch
import torch._dynamo  # before pandas has its stand-in
from PIL import Image, ImageEnhance
from stand_ins import HERE, stand_in
from torch import distributed as dist


def uniform(low, high):
    return torch.empty(1).uniform_(low, high).item()


class Compose(list):
    def __call__(self, x):
        for step in self:
            x = step(x)
        return x


def random_crop(size, scale):
    def apply(picture):
        side = int(min(picture.size) * uniform(*scale) ** 0.5)
        left, top = (int(uniform(0, length - side)) for length in picture.size)
        return picture.crop((left, top, left + side, top + side)).resize((size, size))

    return apply


def color_jitter(brightness, contrast, saturation, hue):
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    return Compose(lambda x, kind=kind: kind(x).enhance(uniform(1 - contrast, 1 + contrast)) for kind in enhancers)


def random_apply(steps, p):
    return lambda x: Compose(steps)(x) if uniform(0, 1) < p else x


def normalize(mean, std):
    return lambda x: (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def larc(optimizer, trust_coefficient, clip):
    names = ("param_groups", "zero_grad", "step", "state_dict")
    return SimpleNamespace(optim=optimizer, **{name: getattr(optimizer, name) for name in names})


class Stats(dict):
    loc = index = property(lambda self: self)

    def to_pickle(self, path):
        torch.save(dict(self), path)


steps = {"Compose": Compose, "RandomResizedCrop": random_crop, "RandomApply": random_apply, "ColorJitter": color_jitter}
steps["RandomHorizontalFlip"] = lambda p: random_apply([lambda x: x.transpose(Image.Transpose.FLIP_LEFT_RIGHT)], p)
steps["RandomGrayscale"] = lambda p: random_apply([lambda x: x.convert("L").convert("RGB")], p)
steps["ToTensor"] = lambda: lambda x: torch.from_numpy(np.array(x)).permute(2, 0, 1) / 255
stand_in("torchvision.transforms", Normalize=normalize, **steps)
stand_in("pandas", DataFrame=lambda columns: Stats())
stand_in("matplotlib", use=lambda name: None)
stand_in("matplotlib.pyplot")
stand_in("transformers")
stand_in("apex")
stand_in("apex.parallel.LARC", LARC=larc)
start, wrap = dist.init_process_group, torch.nn.parallel.DistributedDataParallel
dist.init_process_group = lambda backend, **kwargs: start("gloo", **kwargs)
torch.nn.parallel.DistributedDataParallel = lambda model, device_ids: wrap(model)
torch.cuda.device_count, torch.cuda.set_device = lambda: 1, lambda index: None
torch.Tensor.cuda = torch.nn.Module.cuda = lambda self, **kwargs: self

import wilds
from wilds.datasets.unlabeled.wilds_unlabeled_dataset import WILDSUnlabeledDataset


class Pictures(WILDSUnlabeledDataset):
    def __init__(self, dataset, root_dir, unlabeled, download, **kwargs):
        rng = np.random.default_rng(0)
        self._pictures = [rng.integers(0, 256, (*rng.integers(70, 120, 2), 3), dtype=np.uint8) for _ in range(45)]
        self._dataset_name, self._data_dir, self._split_scheme = dataset, root_dir, "official"
        self._split_array, self._y_size = np.full(45, 12), 1
        self._metadata_fields, self._metadata_array = ["domain"], torch.zeros(45, 1, dtype=torch.long)
        super().__init__(root_dir, download, "official")

    def get_input(self, index):
        return Image.fromarray(self._pictures[index])


wilds.get_dataset = Pictures
sys.path.insert(0, str(HERE / "examples/algorithms/swav"))
import main_swav

main_swav.plot_experiment = lambda log_dir: None
folder = tempfile.mkdtemp()
os.environ.update(RANK="0", WORLD_SIZE="1")
arguments = f"""--dataset domainnet --root_dir {folder} --log_dir {folder} --dist_url file://{folder}/meeting
--world_size 1 --seed 31 --model resnet18 --nmb_crops 2 2 --size_crops 64 32 --min_scale_crops 0.14 0.05
--max_scale_crops 1.0 0.14 --n_epochs 2 --warmup_epochs 0 --batch_size 8 --lr 0.05 --nmb_prototypes 20
--freeze_prototypes_niters 3 --hidden_mlp 64 --use_fp16 false --sync_bn none
--loader_kwargs num_workers=0 pin_memory=False drop_last=True"""
sys.argv = ["main_swav.py", *arguments.split()]
main_swav.main()
dist.destroy_process_group()
