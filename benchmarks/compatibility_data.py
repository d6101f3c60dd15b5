"""Make small synthetic data sets in the file formats that public training scripts read.

    python benchmarks/compatibility_data.py FOLDER

The content is random; formats, shapes and value ranges are those of the real sets, the number of
samples is not. Needs numpy, Pillow, pandas and torch; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import gzip
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

_RANDOM = np.random.default_rng(0)
_WORDS = ["".join(_RANDOM.choice(list("abcdefghiklmnoprstuw"), 1 + i % 9)) for i in range(2000)]
MAKERS: dict[str, Callable[[Path], None]] = {}


def maker(make: Callable[[Path], None]) -> Callable[[Path], None]:
    """Register a data set under the name of its function."""
    MAKERS[make.__name__] = make
    return make


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write the format of the MNIST files: big-endian header, then bytes."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def write_image(path: Path, width: int, height: int, mode: str = "RGB") -> None:
    """Write a random picture."""
    channels = (3,) if mode == "RGB" else ()
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = _RANDOM.integers(0, 256, (height, width, *channels), dtype=np.uint8)
    Image.fromarray(pixels, mode=mode).save(path)


def sentences(count: int, words: int = 12) -> str:
    """Return ``count`` lines of made-up words."""
    chosen = _RANDOM.choice(_WORDS, (count, words))
    return "\n".join(" ".join(line) + " ." for line in chosen) + "\n"


def write_mnist(raw: Path, samples: int = 2000) -> None:
    """Write the four files of MNIST."""
    raw.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", samples), ("t10k", samples // 4)):
        write_idx(raw / f"{part}-images-idx3-ubyte", _RANDOM.integers(0, 256, (count, 28, 28)))
        write_idx(raw / f"{part}-labels-idx1-ubyte", np.arange(count) % 10)


@maker
def mnist(folder: Path) -> None:
    """MNIST and FashionMNIST as torchvision keeps them."""
    write_mnist(folder / "MNIST" / "raw")
    write_mnist(folder / "FashionMNIST" / "raw")


@maker
def mnist_full(folder: Path) -> None:
    """MNIST with as many samples as the real set, for scripts that split it by their number."""
    write_mnist(folder / "MNIST" / "raw", 60_000)


@maker
def text(folder: Path) -> None:
    """Plain text: one corpus, the same split in three, and one with two sentences a line."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in (("train", 4000), ("valid", 500), ("test", 500), ("input", 4000)):
        every_character = "".join(map(chr, range(32, 127))) + "\n"
        (folder / f"{name}.txt").write_text(every_character + sentences(count))
    (folder / "enwik8.gz").write_bytes(gzip.compress(bytes(_RANDOM.integers(32, 127, 95_000_000, dtype=np.uint8)), 1))
    (folder / "words.txt").write_text("\n".join(w for w in _WORDS if w.isalpha()) + "\n")
    pairs = zip(sentences(500).splitlines(), sentences(500).splitlines(), strict=True)
    (folder / "pairs.txt").write_text("".join(f"{a}\t{b}\n" for a, b in pairs))


@maker
def tokens(folder: Path) -> None:
    """Token streams of nanoGPT: ``train.bin`` and ``val.bin`` of uint16 and ``meta.pkl``."""
    for name, vocabulary in (("shakespeare_char", 65), ("openwebtext", 50257), ("shakespeare", 50257)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for part in ("train", "val"):
            stream = _RANDOM.integers(0, vocabulary, 200_000).astype(np.uint16)
            stream.tofile(folder / name / f"{part}.bin")
        if name == "shakespeare_char":
            symbols = {i: chr(32 + i) for i in range(vocabulary)}
            meta = {"vocab_size": vocabulary, "itos": symbols, "stoi": {c: i for i, c in symbols.items()}}
            (folder / name / "meta.pkl").write_bytes(pickle.dumps(meta))


@maker
def tinystories(folder: Path) -> None:
    """Shards of uint16 tokens, as llama2.c pretokenizes them."""
    shards = folder / "TinyStories_all_data"
    shards.mkdir(parents=True, exist_ok=True)
    for shard in range(2):
        _RANDOM.integers(0, 32000, 300_000).astype(np.uint16).tofile(shards / f"data{shard:02d}.bin")
        (shards / f"data{shard:02d}.json").write_text("[]")


@maker
def cora(folder: Path) -> None:
    """A citation graph in the format of Cora: ``cora.content`` and ``cora.cites``."""
    folder.mkdir(parents=True, exist_ok=True)
    papers, features = 2708, 1433
    bits = _RANDOM.random((papers, features)) < 0.012
    lines = ["\t".join([str(i), *("1" if b else "0" for b in row), f"Class_{i % 7}"]) for i, row in enumerate(bits)]
    (folder / "cora.content").write_text("\n".join(lines) + "\n")
    edges = _RANDOM.integers(0, papers, (5429, 2))
    (folder / "cora.cites").write_text("".join(f"{a}\t{b}\n" for a, b in edges))


@maker
def images(folder: Path) -> None:
    """Pictures in two classes (``train``, ``val``), and the same in one flat folder."""
    for part, count in (("train", 16), ("val", 8)):
        for number in range(count):
            write_image(folder / part / f"class{number % 2}" / f"{number:06d}.jpg", 256, 256)
    for number in range(48):
        write_image(folder / "flat" / f"{number:06d}.jpg", 178, 218)


@maker
def image_pairs(folder: Path) -> None:
    """Two domains (``trainA``, ``trainB``, ...) and pictures side by side (``train``, ``test``, ``val``)."""
    for part in ("train", "test", "val"):
        for number in range(8):
            write_image(folder / f"{part}A" / f"{number}.jpg", 256, 256)
            write_image(folder / f"{part}B" / f"{number}.jpg", 256, 256)
            write_image(folder / part / f"{number}.jpg", 512, 256)
            for domain in "AB":
                write_image(folder / part / domain / f"{number}.jpg", 256, 256)


@maker
def segmentation(folder: Path) -> None:
    """Pictures in ``imgs`` and masks of two values in ``masks``."""
    for number in range(12):
        write_image(folder / "imgs" / f"{number}.jpg", 192, 128)
        mask = _RANDOM.integers(0, 2, (128, 192), dtype=np.uint8)
        (folder / "masks").mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask, mode="L").save(folder / "masks" / f"{number}.gif")


@maker
def bsds(folder: Path) -> None:
    """The folder layout of BSDS300."""
    for part in ("train", "test"):
        for number in range(8):
            write_image(folder / "BSDS300" / "images" / part / f"{number}.jpg", 481, 321)


@maker
def ett(folder: Path) -> None:
    """Hourly series in the format of the ETT data: a date and seven columns."""
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    rows = 17420
    table = pd.DataFrame(_RANDOM.normal(size=(rows, 7)), columns=["HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"])
    table.insert(0, "date", pd.date_range("2016-07-01", periods=rows, freq="h").strftime("%Y-%m-%d %H:%M:%S"))
    table.to_csv(folder / "ETTh1.csv", index=False)


@maker
def blender(folder: Path) -> None:
    """A scene of the NeRF synthetic set: pictures and camera poses."""
    for part in ("train", "val", "test"):
        frames = []
        for number in range(4):
            path = folder / "lego" / part / f"r_{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = _RANDOM.integers(0, 256, (800, 800, 4), dtype=np.uint8)
            Image.fromarray(pixels, mode="RGBA").save(path, compress_level=0)
            pose = np.eye(4)
            pose[2, 3] = 4.0
            frames.append({"file_path": f"./{part}/r_{number}", "transform_matrix": pose.tolist()})
        text = json.dumps({"camera_angle_x": 0.69, "frames": frames})
        (folder / "lego" / f"transforms_{part}.json").write_text(text)


@maker
def omniglot(folder: Path) -> None:
    """Characters x samples x channel x height x width, as MAML-Pytorch caches it."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = _RANDOM.integers(0, 2, (1623, 20, 1, 28, 28)).astype(np.float32)
    np.save(folder / "omniglot.npy", drawn)


@maker
def sine(folder: Path) -> None:
    """Sine waves: ``traindata.pt``."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    waves = np.sin((np.arange(1000) + _RANDOM.integers(-80, 80, 100)[:, None]) / 20.0)
    torch.save(waves.astype("float64"), folder / "traindata.pt")


@maker
def small_images(folder: Path) -> None:
    """More pictures than the 4,000 that a script keeps back for its validation."""
    folder.mkdir(parents=True, exist_ok=True)
    write_image(folder / "000000.jpg", 64, 64)
    picture = (folder / "000000.jpg").read_bytes()
    for number in range(1, 4040):
        (folder / f"{number:06d}.jpg").write_bytes(picture)


@maker
def pets(folder: Path) -> None:
    """Pictures whose names carry the class, as in the Oxford pets."""
    for number in range(80):
        write_image(folder / f"class_{number % 4}_{number}.jpg", 96, 96)


@maker
def shapenet(folder: Path) -> None:
    """Point clouds with a label for each point, in the layout of ShapeNet's part segmentation."""
    kinds = {"Airplane": "02691156", "Chair": "03001627"}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "synsetoffset2category.txt").write_text("".join(f"{name}\t{number}\n" for name, number in kinds.items()))
    (folder / "train_test_split").mkdir()
    for part in ("train", "test"):
        names = [f"shape_data/{number}/{part}{i}" for number in kinds.values() for i in range(40)]
        (folder / "train_test_split" / f"shuffled_{part}_file_list.json").write_text(json.dumps(names))
        for name in names:
            number, shape = name.split("/")[1:]
            for kind in ("points", "points_label"):
                (folder / number / kind).mkdir(parents=True, exist_ok=True)
            np.savetxt(folder / number / "points" / f"{shape}.pts", _RANDOM.normal(size=(600, 3)), fmt="%.5f")
            np.savetxt(folder / number / "points_label" / f"{shape}.seg", _RANDOM.integers(1, 4, 600), fmt="%d")


@maker
def cifar(folder: Path) -> None:
    """CIFAR-10 as torchvision keeps it, for control runs; its checksums are not those of the real set."""
    batches = folder / "cifar-10-batches-py"
    batches.mkdir(parents=True, exist_ok=True)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        pixels = _RANDOM.integers(0, 256, (400, 3072), dtype=np.uint8)
        (batches / name).write_bytes(pickle.dumps({"data": pixels, "labels": [i % 10 for i in range(400)]}))
    (batches / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class {i}" for i in range(10)]}))


@maker
def inception_moments(folder: Path) -> None:
    """Mean and covariance of Inception's 2,048 features, as BigGAN-PyTorch keeps them of CIFAR-10."""
    folder.mkdir(parents=True, exist_ok=True)
    moments = {"mu": np.zeros(2048, np.float32), "sigma": np.eye(2048, dtype=np.float32)}
    np.savez(folder / "C10_inception_moments.npz", **moments)


def main() -> None:
    """Make all data sets, or those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", choices=sorted(MAKERS))
    options = parser.parse_args()
    for name in options.only or MAKERS:
        if not (options.folder / name).exists():
            MAKERS[name](options.folder / name)
        print(name)


if __name__ == "__main__":
    main()
