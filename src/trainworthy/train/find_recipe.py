"""From the word RECIPE of the command line to the function that makes the recipe."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from trainworthy.errors import TrainworthyError
from trainworthy.train.recipe import Phase, Recipe
from trainworthy.train.schema import ConfigError, Setting, recipe_settings

PACKAGE: Final = "trainworthy.recipes"
FUNCTION: Final = "recipe"


@dataclass(frozen=True, slots=True)
class RecipeSource:
    """A recipe's function, not called yet.

    Attributes:
        name: The word that names it, such as ``digits`` or ``my_recipe.py:tiny``.
        path: Its file.
        function: What makes the recipe of its settings.
        settings: Its settings by key.
    """

    name: str
    path: Path
    function: Callable[..., Any]
    settings: Mapping[str, Setting]

    def make(self, values: Mapping[str, Any]) -> Recipe:
        """Call the function.

        Raises:
            ConfigError: If it fails, or returns something else than a recipe.
        """
        try:
            made = self.function(**values)
        except TrainworthyError:
            raise
        except Exception as error:  # whatever the user's function raises is the answer
            raise ConfigError(f"{_place(error, self.path)}: the recipe {self.name} failed: {_said(error)}.") from error
        if not isinstance(made, Recipe):
            kind = "None" if made is None else _with_article(type(made).__name__)
            raise ConfigError(f"{self.path}: {self.function.__name__}() returned {kind}; it must return a Recipe.")
        return _checked(made, self.path)


def recipe_summaries() -> dict[str, str]:
    """Return what each included recipe teaches: the first line of its file, which is not run."""
    folder = _folder()
    found = {}
    for path in sorted(folder.glob("*.py")):
        if not path.stem.startswith("_"):
            text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            found[path.stem] = text.partition("\n")[0].rstrip(".")
    return found


def find_recipe(word: str) -> RecipeSource:
    """Find a recipe by the name of an included one, or by ``my_recipe.py`` or ``my_recipe.py:function``.

    Raises:
        ConfigError: If there is none; the file's own mistakes too.
    """
    path_text, colon, function = word.rpartition(":") if ".py:" in word else (word, "", "")
    if path_text.endswith(".py") or "/" in path_text:
        return _from_file(word, Path(path_text), function if colon else FUNCTION)
    names = list(recipe_summaries())
    if word in names:
        module = importlib.import_module(f"{PACKAGE}.{word}")
        return _source(word, module, FUNCTION, Path(module.__file__ or word))
    raise ConfigError(f"{word!r} is no recipe; {_meant(word, names)}")


def _meant(word: str, names: list[str]) -> str:
    if Path(f"{word}.py").is_file():
        return f"did you mean the file {word}.py?"
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else "`trainworthy train --list` names them; a file ends in .py."


def _folder() -> Path:
    return Path(__file__).parents[1] / PACKAGE.rpartition(".")[2]


def _from_file(word: str, path: Path, function: str) -> RecipeSource:
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; a recipe is a file such as {path / 'recipe.py'}.")
    if path.suffix != ".py":
        raise ConfigError(f"{path} is no recipe; a recipe is a Python file, whose name ends in .py.")
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [each.name for each in path.parent.glob("*.py")], n=1)
        raise ConfigError(f"There is no file {path}{f'; did you mean {path.parent / near[0]}?' if near else '.'}")
    return _source(word, _load(path), function or FUNCTION, path)


def _load(path: Path) -> ModuleType:
    """Import a file as ``python FILE`` would: what lies beside it can be imported."""
    folder = str(path.parent.resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    # Under its own name, so that processes that load data find what is pickled; not over a module of that name.
    taken = path.stem in sys.modules or path.stem in sys.stdlib_module_names or not path.stem.isidentifier()
    name = f"recipe_file_{path.stem}" if taken else path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} cannot be imported.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        del sys.modules[name]
        raise ConfigError(f"{path}:{error.lineno}: {error.msg}.") from error
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        if isinstance(error, TrainworthyError):
            raise
        raise ConfigError(f"{_place(error, path)}: {_said(error)}.") from error
    return module


def _source(word: str, module: ModuleType, name: str, path: Path) -> RecipeSource:
    function = getattr(module, name, None)
    if function is None:
        own = [
            key for key, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module.__name__ and not key.startswith("_")
        ]  # fmt: skip
        choice = f"; it has {', '.join(own[:5])}: write {path}:{own[0]}, say" if own else "; it defines no function"
        raise ConfigError(f"{path} has no function {name!r}{choice}.")
    if not callable(function) or inspect.isclass(function):
        kind = "a class" if inspect.isclass(function) else _with_article(type(function).__name__)
        raise ConfigError(f"{path}: {name} is {kind}; it must be a function that returns a Recipe.")
    return RecipeSource(word, path, function, recipe_settings(function, f"{path}: {name}()"))


def _checked(made: Recipe, path: Path) -> Recipe:
    """Refuse a recipe that cannot run, before a folder is made for it."""
    phases = made.phases
    if not isinstance(phases, tuple) or not phases or not all(isinstance(phase, Phase) for phase in phases):
        raise ConfigError(f"{path}: phases must be a tuple of at least one Phase: phases=(Phase(...),).")
    names = [phase.name for phase in phases]
    if len(set(names)) < len(names):
        raise ConfigError(f"{path}: two phases have the name {max(names, key=names.count)!r}; names are unique.")
    if not callable(made.model) or type(made.model).__module__.startswith("torch.nn"):
        raise ConfigError(f"{path}: model must be a function that makes the model, not the model: model=lambda: Net().")
    for name in ("train_data", "validation_data"):
        data = getattr(made, name)
        if data is None and name == "validation_data":
            continue
        if not hasattr(data, "__getitem__") and not hasattr(data, "__iter__"):
            raise ConfigError(f"{path}: {name} is {_with_article(type(data).__name__)}; it must be a dataset.")
        if hasattr(data, "__len__") and len(data) == 0:
            raise ConfigError(f"{path}: {name} is empty.")
    return made


def _place(error: BaseException, path: Path) -> str:
    """Name the last line of the user's file that was running."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path.resolve()
              or Path(frame.filename) == path]  # fmt: skip
    return f"{path}:{frames[-1].lineno}" if frames else str(path)


def _said(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}".rstrip(".") if text else type(error).__name__


def _with_article(name: str) -> str:
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
