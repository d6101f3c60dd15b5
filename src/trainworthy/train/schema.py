"""Settings as data: which keys there are, which type each has, and a value made to fit it or refused in one line.

The keyword parameters of a recipe's function are its settings; the fields of ``TrainOptions`` are those of every run,
under ``train.``. A type is one of bool, int, float, str, a ``Literal`` of texts, any of these or None, or a list or
tuple of one of them.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from trainworthy.errors import UsageError
from trainworthy.train.recipe import TrainOptions

OPTIONS: Final = "train"
REQUIRED: Final = inspect.Parameter.empty
_SCALARS: Final = (bool, int, float, str)
_WORDS: Final = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}


class ConfigError(UsageError):
    """A setting, a recipe or a file of settings is wrong; the message is one line that names the key."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


@dataclass(frozen=True, slots=True)
class Setting:
    """One key.

    Attributes:
        key: Full name, such as ``lr`` or ``train.steps``.
        kind: The annotation.
        default: What it is if nobody says otherwise; ``REQUIRED`` if it must be given.
    """

    key: str
    kind: Any
    default: Any

    @property
    def takes_text(self) -> bool:
        """Whether a word of the command line is taken as it stands."""
        return all(option is str or get_origin(option) is Literal for option in _options(self.kind))


def options_settings() -> dict[str, Setting]:
    """Return the settings of every run by key, in the order of ``TrainOptions``."""
    hints = get_type_hints(TrainOptions)
    return {
        f"{OPTIONS}.{field.name}": Setting(f"{OPTIONS}.{field.name}", hints[field.name], field.default)
        for field in dataclasses.fields(TrainOptions)
    }


def recipe_settings(function: Callable[..., Any], where: str) -> dict[str, Setting]:
    """Return the settings of a recipe's function by key, in its order.

    Raises:
        ConfigError: If a parameter cannot be a setting.
    """
    try:
        hints = get_type_hints(function)
        parameters = inspect.signature(function).parameters
    except (NameError, TypeError, ValueError, AttributeError, SyntaxError) as error:
        raise ConfigError(f"{where}: the types of its settings cannot be read: {error}.") from error
    found = {}
    for name, parameter in parameters.items():
        _check_parameter(parameter, where)
        if name not in hints:
            raise ConfigError(f"{where}: the setting {name} has no type; write {name}: float = ..., say.")
        if not _is_allowed(hints[name]):
            raise ConfigError(
                f"{where}: the setting {name} has the type {type_name(hints[name])}; a setting is a bool, int, float, "
                "str, a Literal of texts, one of these or None, or a list or tuple of them."
            )
        default = parameter.default
        if default is not REQUIRED:
            default = fitted(Setting(name, hints[name], default), default, f"the default in {where}")
        found[name] = Setting(name, hints[name], default)
    return found


def _check_parameter(parameter: inspect.Parameter, where: str) -> None:
    name = parameter.name
    if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY}:
        stars = "*" * (parameter.kind is parameter.VAR_POSITIONAL) + "**" * (parameter.kind is parameter.VAR_KEYWORD)
        raise ConfigError(f"{where}: {stars}{name} cannot be a setting; a recipe takes keywords: def recipe(*, ...).")
    if name == OPTIONS:
        raise ConfigError(f"{where}: no setting can be called {OPTIONS}; that is the group of what every run has.")


def fitted(setting: Setting, value: Any, source: str | None = None) -> Any:
    """Return ``value`` as the type of the setting has it; a tuple for lists and tuples.

    Raises:
        ConfigError: If it does not fit.
    """
    found = _fit(setting.kind, value)
    if found is _MISFIT:
        where = f" ({source})" if source else ""
        hint = _hint(setting, value)
        end = "" if hint.endswith("?") else "."
        raise ConfigError(f"{setting.key} is {shown(value)}; it must be {type_words(setting.kind)}{hint}{where}{end}")
    return found


def nearest(key: str, known: Iterable[str]) -> str | None:
    """Return the key that was probably meant: close in spelling, or the same last part."""
    keys = list(known)
    group, _, last = key.rpartition(".")
    if group in keys:
        return group
    by_last = {each.rpartition(".")[2]: each for each in reversed(keys)}
    close = [last] if last in by_last else difflib.get_close_matches(last, by_last, n=1, cutoff=0.65)
    return by_last[close[0]] if close else None


def type_words(kind: Any) -> str:
    """Say a type in words: ``a whole number or null``."""
    words = []
    for option in _options(kind):
        if get_origin(option) is Literal:
            words.append("one of " + ", ".join(map(str, get_args(option))))
        elif _item(option) is not None:
            words.append(f"a list such as {_example(_item(option))}")
        else:
            words.append(_WORDS[option])
    return " or ".join(words + ["null"] * _takes_none(kind))


def type_name(kind: Any) -> str:
    """Return an annotation as a user would write it."""
    return getattr(kind, "__name__", None) if isinstance(kind, type) and not get_args(kind) else str(kind)  # type: ignore[return-value]


def shown(value: Any) -> str:
    """Show a value as YAML would, no longer than a line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a group of settings" if value else "an empty group"
    if isinstance(value, (list, tuple)):
        return _cut("[" + ", ".join(shown(each) for each in value) + "]")
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


_MISFIT: Final = object()


def _fit(kind: Any, value: Any) -> Any:
    if value is None:
        return None if _takes_none(kind) else _MISFIT
    for option in _options(kind):
        found = _fit_one(option, value)
        if found is not _MISFIT:
            return found
    return _MISFIT


def _fit_one(kind: Any, value: Any) -> Any:
    if get_origin(kind) is Literal:
        return value if any(type(value) is type(each) and value == each for each in get_args(kind)) else _MISFIT
    item = _item(kind)
    if item is not None:
        found = tuple(_fit(item, each) for each in value) if isinstance(value, (list, tuple)) else (_MISFIT,)
        return _MISFIT if any(each is _MISFIT for each in found) else found
    if isinstance(value, bool) or kind is bool:
        return value if kind is bool and isinstance(value, bool) else _MISFIT
    if kind is str:
        return value if isinstance(value, str) else _MISFIT
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return _MISFIT
    if kind is float:
        return float(value)
    return int(value) if value == int(value) else _MISFIT  # 1e3 steps are 1000 steps


def _hint(setting: Setting, value: Any) -> str:
    """Say what was probably meant, where a value nearly fits."""
    options = _options(setting.kind)
    texts = [each for option in options if get_origin(option) is Literal for each in get_args(option)]
    if texts and isinstance(value, str):
        close = difflib.get_close_matches(value.lower(), map(str, texts), n=1, cutoff=0.5)
        return f"; did you mean {close[0]}?" if close else ""
    if (str in options or texts) and isinstance(value, (bool, int, float)):
        return "; YAML reads it so without quotes: put it in quotes"
    if isinstance(value, str) and _is_number(value):
        return "; without quotes it is a number"
    if isinstance(value, str) and value.lower() in {"none", "nil", "~", ""} and _takes_none(setting.kind):
        return "; None is written null"
    return ""


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _options(kind: Any) -> tuple[Any, ...]:
    """Return the alternatives of a type, None left out."""
    if get_origin(kind) in {Union, types.UnionType}:
        return tuple(option for option in get_args(kind) if option is not type(None))
    return (kind,)


def _takes_none(kind: Any) -> bool:
    return get_origin(kind) in {Union, types.UnionType} and type(None) in get_args(kind)


def _item(kind: Any) -> Any:
    """Return what a list or tuple holds; None for another type."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is list or (origin is tuple and len(args) == 2 and args[1] is Ellipsis):
        return args[0]
    return None


def _is_allowed(kind: Any) -> bool:
    def scalar(option: Any) -> bool:
        return option in _SCALARS or (
            get_origin(option) is Literal and all(isinstance(each, str) for each in get_args(option))
        )

    return all(scalar(option) or (_item(option) is not None and scalar(_item(option))) for option in _options(kind))


def _example(item: Any) -> str:
    if get_origin(item) is Literal:
        return f"[{get_args(item)[0]}]"
    return {bool: "[true, false]", int: "[1, 2]", float: "[0.1, 0.2]", str: "[a, b]"}[item]


def plain_kind(kind: Any) -> Any:
    """Return the type as OmegaConf 2.3 knows it: a ``Literal`` is text, a tuple a list."""
    options = [
        str if get_origin(option) is Literal
        else (list[plain_kind(_item(option))] if _item(option) is not None else option)  # type: ignore[misc]
        for option in _options(kind)
    ]  # fmt: skip
    unique = list(dict.fromkeys(options))
    made = unique[0] if len(unique) == 1 else typing.Any
    return made | None if _takes_none(kind) and made is not typing.Any else made
