"""Run the project's training script for depth and camera motion on two invented scenes.

fix: 63af6652
depth: live 60
expects: -
where: program
stands in: scipy's old imresize, blessings and progressbar (output on the terminal), matplotlib's colours
needs: path, imageio, tensorboardX
"""

import contextlib
import runpy
import sys
from pathlib import Path

import numpy as np
import scipy
from PIL import Image
from stand_ins import stand_in

HEIGHT, WIDTH = 64, 96


class Terminal:
    height = 40

    def location(self, x, y):
        return contextlib.nullcontext()


class ProgressBar:
    def __init__(self, max_value, fd):
        pass

    def start(self):
        pass

    def update(self, value):
        pass

    def finish(self):
        pass


class Colours:
    N = 4

    def __init__(self, *args):
        pass

    @classmethod
    def from_list(cls, *args):
        return cls()

    def __call__(self, values):
        return np.stack([np.asarray(values)] * 4, -1)


def resize(image, size):
    return np.array(Image.fromarray(image.astype(np.uint8)).resize(size[::-1]))


scipy.misc = stand_in("scipy.misc", imresize=resize)
stand_in("blessings", Terminal=Terminal)
stand_in("progressbar", ProgressBar=ProgressBar)
colours = stand_in("matplotlib.colors", ListedColormap=Colours, LinearSegmentedColormap=Colours)
maps = stand_in("matplotlib.cm", get_cmap=Colours)
stand_in("matplotlib", cm=maps, colors=colours)

data = Path("invented_scenes")
for scene, count in {"first": 15, "second": 7}.items():
    Path(data, scene).mkdir(parents=True, exist_ok=True)
    wall = np.random.randint(0, 256, (HEIGHT // 4, WIDTH, 3), dtype=np.uint8)
    wall = np.array(Image.fromarray(wall).resize((2 * WIDTH, HEIGHT)))
    for frame in range(count):
        Image.fromarray(wall[:, 3 * frame : 3 * frame + WIDTH]).save(data / scene / f"{frame:07}.jpg")
    np.savetxt(data / scene / "cam.txt", [[60.0, 0, WIDTH / 2, 0, 60.0, HEIGHT / 2, 0, 0, 1]])
(data / "train.txt").write_text("first\n")
(data / "val.txt").write_text("second\n")

sys.argv = f"train.py {data} --workers 0 --epochs 2 --batch-size 2 --print-freq 2".split()
runpy.run_path("train.py", run_name="__main__")
