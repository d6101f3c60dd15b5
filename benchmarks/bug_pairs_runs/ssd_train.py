"""Run the project's training script for the small SSD detector on invented pictures with boxes.

fix: 9411dcee
depth: live 60
expects: -
where: program
stands in: the data set VOC, cv2 and torchvision, the old name of torch's download
needs: yacs, six
"""

import runpy
import sys
import tempfile

import torch
from stand_ins import stand_in
from torch.utils.data import Dataset


class Pictures(Dataset):
    def __init__(self, target_transform):
        self.target_transform = target_transform

    def __len__(self):
        return 14

    def __getitem__(self, index):
        count = 1 + index % 3
        corner = torch.rand(count, 2) * 0.5
        boxes = torch.cat([corner, corner + 0.2 + torch.rand(count, 2) * 0.3], 1)
        places, labels = self.target_transform(boxes, torch.randint(1, 21, (count,)))
        return torch.randn(3, 320, 320) * 50, {"boxes": places, "labels": labels}, index


def build_dataset(dataset_list, transform=None, target_transform=None, is_train=True):
    return [Pictures(target_transform)]


torch.hub._download_url_to_file = torch.hub.download_url_to_file
stand_in("cv2")
stand_in("torchvision", __version__="0.15.0")
stand_in("torchvision.ops")
stand_in("torchvision.transforms")

import ssd.data  # noqa: F401 - a folder without __init__: the stand-in of its package comes after it

stand_in("ssd.data.datasets", build_dataset=build_dataset)
stand_in("ssd.data.datasets.evaluation")

options = {
    "MODEL.DEVICE": "cpu",
    "MODEL.BACKBONE.PRETRAINED": "False",
    "SOLVER.MAX_ITER": "10",
    "SOLVER.LR_STEPS": "(6, 8)",
    "SOLVER.WARMUP_ITERS": "4",
    "SOLVER.BATCH_SIZE": "4",
    "DATA_LOADER.NUM_WORKERS": "0",
    "DATA_LOADER.PIN_MEMORY": "False",
    "OUTPUT_DIR": tempfile.mkdtemp(),
}
sys.argv = ["train.py", "--config-file", "configs/mobilenet_v2_ssd320_voc0712.yaml", "--skip-test"]
sys.argv += ["--log_step", "2", "--eval_step", "-1", "--use_tensorboard", "False"]
sys.argv += [word for option in options.items() for word in option]
runpy.run_path("train.py", run_name="__main__")
