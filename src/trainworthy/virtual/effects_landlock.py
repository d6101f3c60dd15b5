"""Ask the Linux kernel to refuse writes outside some folders (Landlock, Linux 5.13 and later).

The net below the others: it also holds for code written in C or Rust. Where the kernel has no
Landlock, nothing happens. Numbers are those of ``linux/landlock.h``; system calls have the same
numbers on x86-64 and on ARM64.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38
# write_file, remove_dir, remove_file, make_char/dir/reg/sock/fifo/block/sym
_WRITES = (1 << 1) | sum(1 << bit for bit in range(4, 13))
_REFER, _TRUNCATE = 1 << 13, 1 << 14


class _Ruleset(ctypes.Structure):
    _fields_ = [("handled_access_fs", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


def restrict_writes(folders: tuple[str, ...]) -> bool:
    """Allow this process to write below ``folders`` only; returns whether the kernel does it."""
    if sys.platform != "linux" or platform.machine() not in {"x86_64", "aarch64"}:
        return False
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        version = libc.syscall(_CREATE_RULESET, None, 0, 1)
        if version < 1:
            return False
        handled = _WRITES | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
        ruleset = _Ruleset(handled)
        number = libc.syscall(_CREATE_RULESET, ctypes.byref(ruleset), ctypes.sizeof(ruleset), 0)
        if number < 0:
            return False
        for folder in folders:
            _allow(libc, number, folder, handled)
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            return False
        restricted: int = libc.syscall(_RESTRICT_SELF, number, 0)
        os.close(number)
    except (OSError, AttributeError):
        return False
    return restricted == 0


def _allow(libc: ctypes.CDLL, ruleset: int, folder: str, access: int) -> None:
    folder_fd = os.open(folder, getattr(os, "O_PATH", 0) | os.O_CLOEXEC)
    rule = _PathBeneath(access, folder_fd)
    libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    os.close(folder_fd)
