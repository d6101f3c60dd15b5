"""Replace the file functions of Python by ones that go through the overlay."""

# pathlib would go through the functions that are replaced here:
# ruff: noqa: PTH118
from __future__ import annotations

import builtins
import functools
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import SourceFileLoader
from typing import Any

from trainworthy.virtual.effects_imports import WrittenModules, when_imported
from trainworthy.virtual.effects_overlay import Overlay, is_dir, is_file, is_link, real

_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_PATH_NAMES = frozenset({"filename", "path", "folder", "vocab", "merges", "database", "name"})
_READERS = ("stat", "lstat", "access", "readlink", "listxattr", "getxattr", "statvfs")
# Metadata of a file of the user: noted nowhere, done only to what the script made.
_METADATA = ("chmod", "chown", "lchown", "utime", "setxattr", "removexattr")


def install_files(overlay: Overlay) -> None:
    """Redirect ``open``, ``os``, ``shutil``, and file functions written in C that go by name."""
    builtins.open = io.open = _open(overlay)
    io.FileIO = _file_io(overlay)  # type: ignore[misc]
    for name, function in _replacements(overlay).items():
        if hasattr(real, name):
            _replace(name, function)
    _replace_pathlib()
    shutil.rmtree = _rmtree(overlay)  # type: ignore[assignment]
    _replace("getcwd", overlay.cwd)
    sys.meta_path.append(WrittenModules(lambda folder: overlay.mirror(overlay.absolute(folder or ".")), is_dir))
    for name in ("get_data", "path_stats"):  # of a module that is loaded by its file's name
        original = getattr(SourceFileLoader, name)
        setattr(SourceFileLoader, name, _redirected(original, overlay, "read", paths=slice(1, 2)))
    _redirect_c_code(overlay)


def _replace(name: str, function: Callable[..., Any]) -> None:
    original = getattr(real, name)
    if not hasattr(function, "__func__"):  # a bound method takes no attributes
        function = functools.wraps(original)(function)
    for group in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks, os.supports_effective_ids):
        if original in group:
            group.add(function)
    setattr(os, name, function)


def _replace_pathlib() -> None:
    """Python 3.10 keeps its own references to the functions of ``os``."""
    accessor = getattr(sys.modules.get("pathlib"), "_NormalAccessor", None)
    for name in vars(real):
        if accessor is not None and hasattr(accessor, name) and hasattr(os, name):
            setattr(accessor, name, staticmethod(getattr(os, name)))
    if accessor is not None:
        accessor.open = staticmethod(builtins.open)


def _open(overlay: Overlay) -> Any:
    def open(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        return real.builtin_open(_place(overlay, file, mode), mode, *args, **kwargs)

    return functools.wraps(real.builtin_open)(open)


def _place(overlay: Overlay, file: Any, mode: str) -> Any:
    """Return what to open for ``file``: a number stays what it is."""
    if isinstance(file, int):
        return file
    if not any(letter in mode for letter in "wax+"):
        return overlay.to_read(file)
    if "x" in mode and overlay.exists(overlay.absolute(file)):
        raise FileExistsError(17, os.strerror(17), file)
    return overlay.to_write(file, copy="w" not in mode)


def _file_io(overlay: Overlay) -> type[io.FileIO]:
    """Return the class that takes the place of ``io.FileIO``; files opened by ``open`` are instances too."""
    raw = io.FileIO

    class Meta(type(raw)):  # type: ignore[misc]
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, raw)

    class FileIO(raw, metaclass=Meta):  # type: ignore[misc,valid-type]
        __doc__ = raw.__doc__

        def __init__(self, file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> None:
            super().__init__(_place(overlay, file, mode), mode, *args, **kwargs)

    return FileIO


def _replacements(overlay: Overlay) -> dict[str, Callable[..., Any]]:
    def os_open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & _WRITE_FLAGS:
            full = overlay.absolute(path, dir_fd)
            if flags & os.O_EXCL and flags & os.O_CREAT and overlay.exists(full):
                raise FileExistsError(17, os.strerror(17), path)
            target = overlay.to_write(path, dir_fd, copy=not flags & os.O_TRUNC)
            return int(real.open(target, flags, mode))
        return int(real.open(overlay.to_read(path, dir_fd), flags, mode))

    def rename(src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
        overlay.move(overlay.absolute(src, src_dir_fd), overlay.absolute(dst, dst_dir_fd))

    def truncate(path: Any, length: int) -> None:
        real.truncate(overlay.to_write(path, copy=True), length)

    def remove(path: Any, *, dir_fd: int | None = None) -> None:
        overlay.delete(path, dir_fd, folder=False)

    replacements: dict[str, Callable[..., Any]] = {
        "open": os_open, "truncate": truncate, **_listings(overlay),
        "rename": rename, "replace": rename, "remove": remove, "unlink": remove,
        "rmdir": lambda path, *, dir_fd=None: overlay.delete(path, dir_fd, folder=True),
        "mkdir": lambda path, mode=0o777, *, dir_fd=None: overlay.make_dir(path, mode, dir_fd),
        "symlink": lambda src, dst, target_is_directory=False, *, dir_fd=None: overlay.link(
            src, overlay.absolute(dst, dir_fd), symbolic=True
        ),
        "link": lambda src, dst, **kwargs: overlay.link(src, dst, symbolic=False),
        "mkfifo": lambda path, mode=0o666, *, dir_fd=None: real.mkfifo(overlay.to_write(path, dir_fd), mode),
        "mknod": lambda path, *args, dir_fd=None: real.mknod(overlay.to_write(path, dir_fd), *args),
        "chdir": overlay.change_dir,
    }  # fmt: skip
    replacements.update({name: _reader(overlay, name) for name in _READERS})
    replacements.update({name: _metadata(overlay, name) for name in _METADATA})
    return replacements


def _listings(overlay: Overlay) -> dict[str, Callable[..., Any]]:
    def listdir(path: Any = ".") -> list[str]:
        if isinstance(path, int):
            found: list[str] = real.listdir(path)
            return found
        full = overlay.absolute(path)
        if overlay.active and not overlay.is_free(full) and overlay.is_dir(full):
            return overlay.listing(full)
        return list(real.listdir(overlay.to_read(path)))

    def scandir(path: Any = ".") -> Any:
        if isinstance(path, int):
            return real.scandir(path)
        full = overlay.absolute(path)
        if overlay.active and not overlay.is_free(full) and overlay.is_dir(full):
            return _Scan(overlay, full, os.fsdecode(path))
        return real.scandir(overlay.to_read(path))

    return {"listdir": listdir, "scandir": scandir}


def _reader(overlay: Overlay, name: str) -> Callable[..., Any]:
    function = getattr(real, name, None)

    def read(path: Any, *args: Any, dir_fd: int | None = None, **kwargs: Any) -> Any:
        assert function is not None
        if not overlay.active and dir_fd is not None:
            return function(path, *args, dir_fd=dir_fd, **kwargs)
        try:
            at = overlay.to_read(path, dir_fd)
        except OSError:
            if name == "access":
                return False
            raise
        return function(at, *args, **kwargs)

    return read


def _metadata(overlay: Overlay, name: str) -> Callable[..., Any]:
    function = getattr(real, name, None)

    def change(path: Any, *args: Any, dir_fd: int | None = None, **kwargs: Any) -> None:
        assert function is not None
        if isinstance(path, int):
            function(path, *args, **kwargs)
            return
        full = overlay.absolute(path, dir_fd)
        if overlay.is_free(full):
            function(full, *args, **kwargs)
        elif overlay.has_mirror(full):
            function(overlay.mirror(full), *args, **kwargs)
        elif not overlay.exists(full):
            raise FileNotFoundError(2, os.strerror(2), path)

    return change


def _rmtree(overlay: Overlay) -> Callable[..., None]:
    def rmtree(path: Any, ignore_errors: bool = False, *args: Any, **kwargs: Any) -> None:
        overlay.delete_tree(path, ignore_errors=ignore_errors or bool(args or kwargs))

    rmtree.avoids_symlink_attacks = True  # type: ignore[attr-defined]
    return functools.wraps(real.rmtree)(rmtree)


class _Scan:
    """What ``os.scandir`` returns for a folder that the script changed."""

    def __init__(self, overlay: Overlay, full: str, shown: str) -> None:
        self._entries = iter([_Entry(overlay, full, shown, name) for name in overlay.listing(full)])

    def __iter__(self) -> Iterator[_Entry]:
        return self._entries

    def __next__(self) -> _Entry:
        return next(self._entries)

    def __enter__(self) -> _Scan:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Accept what scandir accepts."""


class _Entry:
    """A directory entry whose path is the script's and whose facts are the overlay's."""

    def __init__(self, overlay: Overlay, full: str, shown: str, name: str) -> None:
        self.name = name
        self.path = os.path.join(shown, name)
        self._at = overlay.to_read(os.path.join(full, name))

    def __fspath__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        return f"<DirEntry {self.name!r}>"

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Tell whether the entry is a folder."""
        return is_dir(self._at) and (follow_symlinks or not self.is_symlink())

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Tell whether the entry is a file."""
        return is_file(self._at) and (follow_symlinks or not self.is_symlink())

    def is_symlink(self) -> bool:
        """Tell whether the entry is a symbolic link."""
        return is_link(self._at)

    def is_junction(self) -> bool:
        """Tell whether the entry is a junction of Windows."""
        return False

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return the facts about the entry."""
        result: os.stat_result = (real.stat if follow_symlinks else real.lstat)(self._at)
        return result

    def inode(self) -> int:
        """Return the number of the entry."""
        return int(real.lstat(self._at).st_ino)


# --- code written in C that opens files by name -----------------------------------------------


def _redirect_c_code(overlay: Overlay) -> None:
    when_imported("sqlite3", lambda module: _redirect(module, "connect", overlay, "write"))
    when_imported("sqlite3.dbapi2", lambda module: _redirect(module, "connect", overlay, "write"))
    when_imported("cv2", lambda module: _redirect(module, "imwrite", overlay, "write"))
    when_imported("h5py", lambda module: _redirect(module, "File", overlay, "write"))
    when_imported("safetensors", lambda module: _redirect_safetensors(module, overlay))
    when_imported("tokenizers", lambda module: _redirect_tokenizers(module, overlay))
    when_imported("torch", lambda module: _redirect_torch(module, overlay))


def _redirect_torch(torch: Any, overlay: Overlay) -> None:
    _redirect(torch._C, "PyTorchFileWriter", overlay, "write")
    _redirect(torch._C, "PyTorchFileReader", overlay, "read")


def _redirect_safetensors(module: Any, overlay: Overlay) -> None:
    _redirect(module, "safe_open", overlay, "read")
    _redirect(module, "serialize_file", overlay, "write", paths=slice(1, 2))


def _redirect_tokenizers(module: Any, overlay: Overlay) -> None:
    models = module.models
    for owner, way in ((module.Tokenizer, "write"), (models.Model, "into")):
        owner.save = _redirected(owner.save, overlay, way, paths=slice(1, 2))
    for owner in (module.Tokenizer, models.BPE, models.WordPiece, models.WordLevel):
        paths = slice(2 if owner is models.BPE else 1)
        for name in ("from_file", "read_file"):
            if hasattr(owner, name):
                setattr(owner, name, staticmethod(_redirected(getattr(owner, name), overlay, "read", paths=paths)))
        if owner is not module.Tokenizer:  # their vocabulary may be given as a path
            _redirect(models, owner.__name__, overlay, "read", paths=paths)


def _redirect(module: Any, name: str, overlay: Overlay, way: str, *, paths: slice = slice(1)) -> None:
    function = getattr(module, name, None)
    if function is None:
        return
    redirected = _redirected(function, overlay, way, paths=paths)
    setattr(module, name, _redirected_class(function, redirected) if isinstance(function, type) else redirected)


def _redirected(function: Any, overlay: Overlay, way: str, *, paths: slice = slice(1)) -> Callable[..., Any]:
    """Return a function of whose arguments ``paths`` lead where the files really are."""

    def real_path(path: Any) -> Any:
        if not isinstance(path, (str, os.PathLike)) or str(path).startswith((":memory:", "file:")):
            return path
        if way == "into":
            return overlay.to_write_into(path)
        return overlay.to_write(path, copy=True) if way == "write" else overlay.to_read(path)

    def redirected(*args: Any, **kwargs: Any) -> Any:
        kwargs = {name: real_path(value) if name in _PATH_NAMES else value for name, value in kwargs.items()}
        given = list(args)
        given[paths] = map(real_path, given[paths])
        return function(*given, **kwargs)

    return redirected if isinstance(function, type) else functools.wraps(function)(redirected)


def _redirected_class(cls: type, redirected: Callable[..., Any]) -> Any:
    """Return a class that ``isinstance`` takes for ``cls`` and whose calls are redirected."""

    class Meta(type):
        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            return redirected(*args, **kwargs)

        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, original)

        def __getattr__(cls, name: str) -> Any:
            return getattr(original, name)

    original = cls
    return Meta(cls.__name__, (), {"__module__": cls.__module__, "__doc__": cls.__doc__})
