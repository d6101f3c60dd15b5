"""The settings of a run: defaults, then the recipe's own options, then a YAML file, then the command line.

Every key is known beforehand (``schema``), so that a misspelt one, or a value of another type, is refused with a line
that names it. What is resolved is saved with the run as YAML and accepted back.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from trainworthy.train.find_recipe import RecipeSource
from trainworthy.train.limits import check_options
from trainworthy.train.recipe import Recipe, TrainOptions
from trainworthy.train.schema import (
    OPTIONS,
    REQUIRED,
    ConfigError,
    Setting,
    fitted,
    nearest,
    options_settings,
    plain_kind,
    shown,
    type_words,
)
from trainworthy.train.yaml_file import YamlError, load_yaml, loads

# What may differ when a run goes on: how it is watched, stored and spread, not what it computes.
FREE_TO_CHANGE: Final = frozenset(
    f"{OPTIONS}.{name}" for name in (
        "async_checkpoint", "checkpoint_every", "device", "guard_steps", "keep_checkpoints", "log_every", "log_every_s",
        "max_time_s", "profile_steps", "resume", "tensorboard", "workers",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Given:
    """A value that somebody gave, and where."""

    value: Any
    source: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """A recipe with all its settings known.

    Attributes:
        source: The recipe's function.
        recipe: What it made, with ``options`` resolved.
        settings: Every key and its value, those of the recipe first.
    """

    source: RecipeSource
    recipe: Recipe
    settings: Mapping[str, Any]

    def to_yaml(self) -> str:
        """Return what is saved with the run; of ``steps`` and ``epochs`` only the one that counts."""
        from omegaconf import OmegaConf

        left_out = f"{OPTIONS}.epochs" if self.recipe.options.steps is not None else f"{OPTIONS}.steps"
        tree = _tree({key: value for key, value in self.settings.items() if key != left_out})
        text: str = OmegaConf.to_yaml(OmegaConf.create(_plain(tree)))
        return text


def resolve(source: RecipeSource, *, file: str | Path | None = None, words: Sequence[str] = ()) -> Resolved:
    """Merge all settings of a recipe, and make it.

    Args:
        source: The recipe's function.
        file: YAML of settings.
        words: ``key=value`` of the command line.

    Raises:
        ConfigError: If a key, a value, the file or the recipe is wrong; one line that names the key.
    """
    known = {**source.settings, **options_settings()}
    in_file = {} if file is None else read_yaml(Path(file), known)
    on_line = read_words(words, known)
    given = {**in_file, **on_line}
    for layer in (in_file, on_line):
        _not_both(layer)
    for key, setting in source.settings.items():
        if setting.default is REQUIRED and key not in given:
            raise ConfigError(
                f"{key} is not given; the recipe {source.name} needs it, {type_words(setting.kind)}: {key}=VALUE."
            )
    first = _merged(known, {}, given)
    made = source.make({key: first[key] for key in source.settings})
    own = {f"{OPTIONS}.{field.name}": getattr(made.options, field.name) for field in dataclasses.fields(TrainOptions)}
    for key, value in own.items():
        fitted(known[key], value, f"in the recipe {source.name}")
    if f"{OPTIONS}.epochs" in given and not _is_set(given, f"{OPTIONS}.steps"):
        own[f"{OPTIONS}.steps"] = None  # the user's epochs are meant, whatever steps the recipe has
    values = _merged(known, own, given)
    options = check_options(
        TrainOptions(**{key.partition(".")[2]: value for key, value in values.items() if key.startswith(f"{OPTIONS}.")})
    )
    return Resolved(source, dataclasses.replace(made, options=options), values)


def differing(old: Mapping[str, Any], new: Mapping[str, Any], *, all_keys: bool = False) -> list[str]:
    """Return the keys whose values differ; those that may differ when a run goes on only with ``all_keys``."""
    keys = dict.fromkeys([*old, *new])
    return [key for key in keys if (all_keys or key not in FREE_TO_CHANGE) and old.get(key) != new.get(key)]


def read_saved(path: Path) -> dict[str, Any]:
    """Read a resolved file back as it is, whatever recipe it was for; lists as tuples.

    Raises:
        ConfigError: If it cannot be read.
    """
    flat = _flat(load_yaml(path), path)
    return {key: tuple(each.value) if isinstance(each.value, list) else each.value for key, each in flat.items()}


def read_yaml(path: Path, known: Mapping[str, Setting]) -> dict[str, Given]:
    """Read a file of settings.

    Raises:
        ConfigError: If it is no YAML, or a key or value in it is wrong.
    """
    flat = _flat(load_yaml(path), path)
    return {key: _checked(key, given, known) for key, given in flat.items()}


def read_words(words: Iterable[str], known: Mapping[str, Setting]) -> dict[str, Given]:
    """Read ``key=value`` words.

    Raises:
        ConfigError: If one is wrong.
    """
    found: dict[str, Given] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise ConfigError(f"{word} is no setting: {_without_equals(word, known)}")
        if key != key.strip() or text != text.strip():
            raise ConfigError(f"{word!r} has blanks around '='; write {key.strip()}={text.strip()}.")
        if key in found:
            raise ConfigError(f"{key} is given twice: {found[key].source} and {word}.")
        _check_key(key, known, "")
        if not text:
            raise ConfigError(f"{key} has no value; it must be {type_words(known[key].kind)}.")
        found[key] = replace(_checked(key, Given(_word_value(key, text, known[key]), ""), known), source=word)
    return found


def _without_equals(word: str, known: Mapping[str, Setting]) -> str:
    key = re.split(r"[:=\s]", word.lstrip("-"), maxsplit=1)[0]
    if key in known:
        return f"write {key}=VALUE, with '='."
    near = nearest(key, known)
    return f"settings are key=value{f', such as {near}=VALUE' if near else ''}."


def _word_value(key: str, text: str, setting: Setting) -> Any:
    if setting.takes_text:
        return None if text == "null" else text
    try:
        return loads(text)
    except YamlError as error:
        raise ConfigError(f"{key} is {shown(text)}; it must be {type_words(setting.kind)}: {error}.") from None


def _checked(key: str, given: Given, known: Mapping[str, Setting]) -> Given:
    _check_key(key, known, given.source)
    return given if _is_reference(given.value) else replace(given, value=fitted(known[key], given.value, given.source))


def _check_key(key: str, known: Mapping[str, Setting], source: str) -> None:
    if key in known:
        return
    where = f" ({source})" if source else ""
    if key == OPTIONS:
        raise ConfigError(f"{OPTIONS} is a group of settings, not one; write {OPTIONS}.steps=100, say{where}.")
    near = nearest(key, known)
    own = [each for each in known if not each.startswith(f"{OPTIONS}.")]
    others = f"the recipe's own settings are {', '.join(own)}" if own else "the recipe has no settings of its own"
    raise ConfigError(f"{key!r} is no setting; {f'did you mean {near}?' if near else f'{others}.'}{where}")


def _not_both(given: Mapping[str, Given]) -> None:
    steps, epochs = (f"{OPTIONS}.{name}" for name in ("steps", "epochs"))
    if _is_set(given, steps) and _is_set(given, epochs):
        raise ConfigError(
            f"{steps} is {given[steps].value} and {epochs} is {given[epochs].value}; "
            "give one of them, the other follows."
        )


def _is_set(given: Mapping[str, Given], key: str) -> bool:
    return key in given and given[key].value is not None


def _is_reference(value: Any) -> bool:
    """Whether OmegaConf has to look the value up: ``${lr}``."""
    if isinstance(value, (list, tuple)):
        return any(map(_is_reference, value))
    return isinstance(value, str) and "${" in value


def _merged(known: Mapping[str, Setting], own: Mapping[str, Any], given: Mapping[str, Given]) -> dict[str, Any]:
    """Merge typed defaults, the recipe's options and what was given, and look up what refers to other keys."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    groups: dict[str, list[Any]] = {"": [], OPTIONS: []}
    for key, setting in known.items():
        group, _, name = key.rpartition(".")
        value = own.get(key, setting.default)
        default = dataclasses.field(default="???") if value is REQUIRED else _field(value)
        groups[group].append((name, plain_kind(setting.kind), default))
    options = dataclasses.make_dataclass("Options", groups[OPTIONS])
    fields = [*groups[""], (OPTIONS, options, dataclasses.field(default_factory=options))]
    schema = dataclasses.make_dataclass("Settings", fields, kw_only=True)
    values: dict[str, Any] = {}
    try:
        tree = OmegaConf.merge(OmegaConf.structured(schema), _plain(_tree({k: g.value for k, g in given.items()})))
        for key in known:
            value = OmegaConf.select(tree, key, throw_on_missing=True)
            values[key] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None) or key
        value = given[key].value if key in given else None
        raise ConfigError(f"{key} is {shown(value)}, which does not resolve: {str(error).splitlines()[0]}.") from None
    return {
        key: fitted(known[key], value, given[key].source if key in given else None) for key, value in values.items()
    }


def _field(value: Any) -> Any:
    if isinstance(value, tuple):
        return dataclasses.field(default_factory=lambda: list(value))
    return dataclasses.field(default=value)


def _tree(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Nest ``train.steps`` in ``train``."""
    found: dict[str, Any] = {}
    for key, value in flat.items():
        group, _, name = key.rpartition(".")
        (found.setdefault(group, {}) if group else found)[name] = value
    return found


def _plain(value: Any) -> Any:
    """Turn tuples into lists, for YAML."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def _flat(tree: Any, path: Path) -> dict[str, Given]:
    """Flatten what a file holds: one level, and the group ``train``."""
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(
            f"{path} holds {'a list' if isinstance(tree, list) else shown(tree)}; settings are lines key: value."
        )
    found: dict[str, Given] = {}
    for name, value in tree.items():
        if not isinstance(name, str):
            raise ConfigError(f"{shown(name)} in {path} is no name of a setting; put it in quotes if it is meant so.")
        group = value if name == OPTIONS and isinstance(value, dict) else {"": value}
        if name == OPTIONS and not isinstance(value, dict):
            raise ConfigError(
                f"{OPTIONS} is {shown(value)} in {path}; it is a group: indented lines key: value below it."
            )
        for last, each in group.items():
            key = f"{name}.{last}" if last else name
            if key in found:
                raise ConfigError(f"{key} is given twice in {path}.")
            found[key] = Given(each, f"in {path}")
    return found
