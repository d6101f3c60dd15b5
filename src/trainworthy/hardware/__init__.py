"""GPUs, CPUs and links as data: one TOML row a file, cross-checked when it is read. Pure; never imports torch."""

from trainworthy.hardware.architecture import Architecture, ContextMemory
from trainworthy.hardware.cpus import Cpu, cpu_row, cpu_rows
from trainworthy.hardware.gpu import Gpu, Link
from trainworthy.hardware.links import Interconnect, link_row, link_rows
from trainworthy.hardware.rows import gpu_row, gpu_rows

__all__ = [
    "Architecture",
    "ContextMemory",
    "Cpu",
    "Gpu",
    "Interconnect",
    "Link",
    "cpu_row",
    "cpu_rows",
    "gpu_row",
    "gpu_rows",
    "link_row",
    "link_rows",
]
