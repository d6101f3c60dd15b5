"""Values from the command line that name a machine or a size: bytes, a GPU, a link."""

from __future__ import annotations

import argparse

from trainworthy.formulas.checks import LARGEST_SIZE
from trainworthy.hardware import Gpu, Interconnect, gpu_row, link_row
from trainworthy.units import parse_size

DEFAULT_GPU = "h100-sxm-80gb"


def size_bytes(text: str) -> int:
    """Read a size in bytes, at least 1.

    >>> size_bytes("1GB"), size_bytes("25 MiB")
    (1000000000, 26214400)

    Raises:
        argparse.ArgumentTypeError: If it is none.
    """
    try:
        size = parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not 1 <= size <= LARGEST_SIZE:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 1 and 2**63 - 1 bytes")
    return size


def gpu(text: str) -> Gpu:
    """Read the id or the driver's name of a GPU.

    Raises:
        UnknownGpuError: If there is no such row.
    """
    return gpu_row(text)


def add_gpu(parser: argparse.ArgumentParser) -> None:
    """Add ``--gpu``."""
    parser.add_argument(
        "--gpu", type=gpu, default=DEFAULT_GPU, metavar="ID",
        help=f"row of `trainworthy gpus` (default {DEFAULT_GPU})",
    )  # fmt: skip


def link(text: str) -> Interconnect:
    """Read the id or a name of a link.

    Raises:
        UnknownLinkError: If there is no such row.
    """
    return link_row(text)


def fraction(text: str) -> float:
    """Read a number above 0 and at most 1.

    >>> fraction("0.5")
    0.5

    Raises:
        argparse.ArgumentTypeError: If it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and at most 1")
    return value
