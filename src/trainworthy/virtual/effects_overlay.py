"""A layer over the file system: what the script changes lives in the scratch folder.

``/home/me/run/model.pt`` is written to ``SCRATCH/files/home/me/run/model.pt``; reading looks there
first. What the script deleted is remembered. The user's files are read, never changed.
"""

# pathlib would go through the functions that are replaced here:
# ruff: noqa: PTH117, PTH118, PTH120
from __future__ import annotations

import builtins
import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

# The functions as they are before anything is replaced.
real = SimpleNamespace(
    **{
        name: getattr(os, name)
        for name in (
            "open", "stat", "lstat", "access", "listdir", "scandir", "mkdir", "rmdir", "remove",
            "unlink", "rename", "replace", "symlink", "link", "readlink", "truncate", "chmod", "chown",
            "lchown", "utime", "chdir", "getcwd", "mkfifo", "mknod",
            "listxattr", "getxattr", "setxattr", "removexattr", "statvfs",
        )
        if hasattr(os, name)
    },
    builtin_open=builtins.open,
    rmtree=shutil.rmtree,
)  # fmt: skip

_MAX_COPY_BYTES = 2 << 30


class Overlay:
    """Maps paths of the script to where they really are."""

    def __init__(self, scratch: str, note: Callable[[str, str], None]) -> None:
        self.scratch = scratch
        self.files = os.path.join(scratch, "files")
        self.note = note
        self.active = False
        self._gone: set[str] = set()
        self._cwd: str | None = None
        self._free = (scratch + os.sep, "/dev/", "/proc/self/", "/proc/thread-self/")

    # --- names ------------------------------------------------------------------------------------

    def absolute(self, path: Any, dir_fd: int | None = None) -> str:
        """Return ``path`` as the script means it, absolute and normalised."""
        text = os.fsdecode(path)
        if not os.path.isabs(text):
            base = self.cwd() if dir_fd is None else self._user_path(f"/proc/self/fd/{dir_fd}")
            text = os.path.join(base, text)
        return self._unmirrored(os.path.normpath(text))

    def cwd(self) -> str:
        """Return the working directory as the script sees it."""
        return self._cwd or real.getcwd()

    def _user_path(self, link: str) -> str:
        return self._unmirrored(real.readlink(link))

    def _unmirrored(self, path: str) -> str:
        if path.startswith(self.files + os.sep):
            return path[len(self.files) :]
        return path

    def mirror(self, path: str) -> str:
        """Return where a changed ``path`` lies."""
        return self.files + path

    def is_free(self, path: str) -> bool:
        """Tell whether the script may change ``path`` itself: scratch folder and devices."""
        return path.startswith(self._free) or path == self.scratch

    def shows_user(self, path: str) -> str:
        """Return a path as reports show it."""
        relative = os.path.relpath(path, self.cwd())
        return path if relative.startswith("..") else relative

    # --- what is there ----------------------------------------------------------------------------

    def is_gone(self, path: str) -> bool:
        """Tell whether the script deleted ``path`` or a folder above it."""
        if not self._gone:
            return False
        while path not in self._gone:
            parent = os.path.dirname(path)
            if parent == path:
                return False
            path = parent
        return True

    def has_mirror(self, path: str) -> bool:
        """Tell whether the script made or changed ``path``."""
        return self.active and _exists(self.mirror(path))

    def exists(self, path: str) -> bool:
        """Tell whether ``path`` exists for the script."""
        return self.has_mirror(path) or (not self.is_gone(path) and _exists(path))

    def is_dir(self, path: str) -> bool:
        """Tell whether ``path`` is a folder for the script."""
        if self.has_mirror(path):
            return is_dir(self.mirror(path))
        return not self.is_gone(path) and is_dir(path)

    def listing(self, path: str) -> list[str]:
        """List a folder as the script sees it."""
        names: set[str] = set()
        if not self.is_gone(path) and is_dir(path):
            names.update(n for n in real.listdir(path) if not self.is_gone(os.path.join(path, n)))
        if self.has_mirror(path):
            names.update(real.listdir(self.mirror(path)))
        return sorted(names)

    # --- where to go ------------------------------------------------------------------------------

    def to_read(self, path: Any, dir_fd: int | None = None) -> Any:
        """Return where to read ``path``.

        Raises:
            FileNotFoundError: If the script deleted it.
        """
        if not self.active or isinstance(path, int):
            return path
        full = self.absolute(path, dir_fd)
        if self.is_free(full):
            return full if self._cwd or dir_fd is not None else path
        if _exists(self.mirror(full)):
            return self.mirror(full)
        if self.is_gone(full) or not _exists(full):
            raise self._missing(full, path)
        return full if self._cwd or dir_fd is not None else path

    def to_write(self, path: Any, dir_fd: int | None = None, *, copy: bool = False) -> Any:
        """Return where to write ``path``; with ``copy`` its present content is there.

        Raises:
            FileNotFoundError: If there is no such folder.
        """
        if isinstance(path, int):
            return path
        full = self.absolute(path, dir_fd)
        if self.is_free(full):
            return full
        if self.is_dir(full):
            raise _error(errno.EISDIR, path)
        return self._place(full, path, copy=copy)

    def to_write_into(self, path: Any) -> str:
        """Return the folder into which code that names its files itself shall write what belongs into ``path``.

        Raises:
            FileNotFoundError: If there is no such folder.
        """
        full = self.absolute(path)
        if self.is_free(full):
            return full
        if not self.is_dir(full):
            raise self._missing(full, path)
        _make_dirs(self.mirror(full))
        self.active = True
        self.note("write", self.shows_user(full) + os.sep)
        return self.mirror(full)

    def _place(self, full: str, path: Any, *, copy: bool = False) -> str:
        self._make_parent(full, path)
        mirror = self.mirror(full)
        if copy and not _exists(mirror) and not self.is_gone(full) and is_file(full):
            self._copy_up(full)
        self.note("write", self.shows_user(full))
        return mirror

    def _make_parent(self, full: str, path: Any) -> None:
        parent = os.path.dirname(full)
        if not self.is_dir(parent):
            raise self._missing(full, path)
        _make_dirs(self.mirror(parent))
        self.active = True

    def _missing(self, full: str, path: Any) -> OSError:
        """Return the error of a path that is not there: a file may stand where a folder should."""
        parent = os.path.dirname(full)
        while parent != os.path.dirname(parent) and not self.exists(parent):
            parent = os.path.dirname(parent)
        return _error(errno.ENOENT if self.is_dir(parent) else errno.ENOTDIR, path)

    def _copy_up(self, full: str) -> None:
        size = real.stat(full).st_size
        if size > _MAX_COPY_BYTES:
            raise OSError(
                errno.EFBIG,
                f"a rehearsal changes only copies, and this file is too large to copy ({size:,} bytes)",
                full,
            )
        _make_dirs(os.path.dirname(self.mirror(full)))
        _copy_file(full, self.mirror(full))

    # --- changes ----------------------------------------------------------------------------------

    def make_dir(self, path: Any, mode: int, dir_fd: int | None) -> None:
        """Stand in for ``os.mkdir``."""
        full = self.absolute(path, dir_fd)
        if self.is_free(full):
            real.mkdir(full, mode)
            return
        if self.exists(full):
            raise _error(errno.EEXIST, path)
        self._make_parent(full, path)
        self.note("write", self.shows_user(full) + os.sep)
        real.mkdir(self.mirror(full), mode | 0o700)

    def make_file(self, path: Any) -> str:
        """Return where to write a file that shall be there for the script, folders included."""
        full = self.absolute(path)
        if self.is_free(full):
            return full
        _make_dirs(os.path.dirname(self.mirror(full)))
        self.active = True
        return self.mirror(full)

    def delete(self, path: Any, dir_fd: int | None, *, folder: bool) -> None:
        """Stand in for ``os.remove`` and ``os.rmdir``."""
        full = self.absolute(path, dir_fd)
        remove = real.rmdir if folder else real.remove
        if self.is_free(full):
            remove(full)
            return
        if not self.exists(full):
            raise self._missing(full, path)
        if folder and self.is_dir(full) and self.listing(full):
            raise _error(errno.ENOTEMPTY, path)
        if folder != self.is_dir(full):
            raise _error(errno.ENOTDIR if folder else errno.EISDIR, path)
        if self.has_mirror(full):
            remove(self.mirror(full))
        self._hide(full)

    def delete_tree(self, path: Any, *, ignore_errors: bool = False) -> None:
        """Stand in for ``shutil.rmtree``."""
        full = self.absolute(path)
        if self.is_free(full):
            _remove_tree(full)
            return
        if not self.is_dir(full):
            if ignore_errors:
                return
            raise _error(errno.ENOTDIR, path) if self.exists(full) else self._missing(full, path)
        if self.has_mirror(full):
            _remove_tree(self.mirror(full))
        self._hide(full)

    def _hide(self, full: str) -> None:
        if _exists(full):
            self._gone.add(full)
            self.active = True
            self.note("delete", self.shows_user(full))

    def move(self, source: Any, target: Any) -> None:
        """Stand in for ``os.rename`` and ``os.replace``."""
        old, new = self.absolute(source), self.absolute(target)
        if not (self.is_free(old) or self.exists(old)):
            raise self._missing(old, source)
        self._check_move(old, new, target)
        to = new if self.is_free(new) else self._place(new, target)
        if self.is_free(old):
            real.replace(old, to)
            return
        if old == new:
            return
        self._copy_tree(old)
        real.replace(self.mirror(old), to)
        self._hide(old)

    def _check_move(self, old: str, new: str, target: Any) -> None:
        if not (self.is_dir(old) or is_dir(old)):
            if self.is_dir(new):
                raise _error(errno.EISDIR, target)
        elif new.startswith(old + os.sep):
            raise _error(errno.EINVAL, target)
        elif self.exists(new) and not self.is_dir(new):
            raise _error(errno.ENOTDIR, target)
        elif new != old and self.is_dir(new) and self.listing(new):
            raise _error(errno.ENOTEMPTY, target)

    def _copy_tree(self, full: str) -> None:
        if not self.is_dir(full):
            if not self.has_mirror(full):
                self._copy_up(full)
            return
        _make_dirs(self.mirror(full))
        for name in self.listing(full):
            self._copy_tree(os.path.join(full, name))

    def link(self, source: Any, target: Any, *, symbolic: bool) -> None:
        """Stand in for ``os.symlink`` and ``os.link`` (which becomes a copy)."""
        full = self.absolute(target)
        if self.exists(full):
            raise _error(errno.EEXIST, target)
        to = self.to_write(target)
        if not symbolic:
            _copy_file(self.to_read(source), to)
            return
        text = os.fsdecode(source)
        if os.path.isabs(text):
            text = os.fsdecode(self.to_read(text))
        elif not _exists(os.path.join(os.path.dirname(to), text)):
            text = os.path.join(os.path.dirname(full), text)  # its target is a file of the user
        real.symlink(text, to)

    def change_dir(self, path: Any) -> None:
        """Stand in for ``os.chdir``."""
        if isinstance(path, int):
            real.chdir(path)
            return
        full = self.absolute(path)
        if self.is_dir(full) and not self.has_mirror(full):
            real.chdir(full)
            self._cwd = None
            return
        real.chdir(self.to_read(path))
        self._cwd = full


def _mode(path: str, look: Any) -> int:
    try:
        return int(look(path).st_mode)
    except (OSError, ValueError):
        return 0


def is_dir(path: str) -> bool:
    """Tell whether ``path`` really is a folder; the layer is not asked."""
    return stat.S_ISDIR(_mode(path, real.stat))


def is_file(path: str) -> bool:
    """Tell whether ``path`` really is a regular file; the layer is not asked."""
    return stat.S_ISREG(_mode(path, real.stat))


def is_link(path: str) -> bool:
    """Tell whether ``path`` really is a symbolic link; the layer is not asked."""
    return stat.S_ISLNK(_mode(path, real.lstat))


def _make_dirs(path: str) -> None:
    if not _exists(path):
        _make_dirs(os.path.dirname(path))
        real.mkdir(path)


def _copy_file(source: str, target: str) -> None:
    with real.builtin_open(source, "rb") as a, real.builtin_open(target, "wb") as b:
        shutil.copyfileobj(a, b)


def _remove_tree(path: str) -> None:
    if is_link(path) or not is_dir(path):
        real.remove(path)
        return
    for name in real.listdir(path):
        _remove_tree(os.path.join(path, name))
    real.rmdir(path)


def _exists(path: str) -> bool:
    return _mode(path, real.lstat) != 0


def _error(number: int, path: Any) -> OSError:
    with contextlib.suppress(TypeError):
        path = os.fspath(path)
    return OSError(number, os.strerror(number), path)
