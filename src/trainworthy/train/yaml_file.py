"""YAML as settings are written in it: safe, without duplicate keys, and 1e-4 is a number."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from trainworthy.errors import UsageError
from trainworthy.train.schema import ConfigError


class YamlError(Exception):
    """What is wrong with a text, in a line, and on which of its lines."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def load_yaml(path: Path) -> Any:
    """Read a file.

    Raises:
        ConfigError: If there is none, or it is no YAML; one line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start}).") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    try:
        return loads(text)
    except YamlError as error:
        raise ConfigError(f"{path}:{error.line}: {error}.") from None


def loads(text: str) -> Any:
    """Read a text; tags and duplicate keys are refused, 1e-4 is a number, as in YAML 1.2.

    Raises:
        YamlError: If it is no YAML.
    """
    yaml = _yaml()
    try:
        return yaml.load(text, _loader())
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        problem = str(getattr(error, "problem", None) or error).splitlines()[0]
        if "'\\t'" in problem:
            problem = "a line begins with a tab; YAML is indented with blanks"
        raise YamlError(problem, line) from None
    except (ValueError, RecursionError) as error:  # a date such as 2026-13-45; a list in a list in a list ...
        raise YamlError(str(error).splitlines()[0], 1) from None


def _yaml() -> Any:
    try:
        import omegaconf  # noqa: F401 - brings PyYAML, and is needed next
        import yaml
    except ModuleNotFoundError as error:
        raise UsageError(
            f"Training needs {error.name}, which is not installed.", fix="pip install 'trainworthy[train]'"
        ) from None
    return yaml


def _loader() -> Any:
    yaml = _yaml()

    class Loader(yaml.SafeLoader):  # type: ignore[misc, name-defined]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen: set[Any] = set()
            for key_node, _ in node.value:
                key = self.construct_object(key_node, deep=True)
                if not isinstance(key, (str, int, float, bool, type(None))):
                    raise YamlError("a key is a list or a group", key_node.start_mark.line + 1)
                if key in seen:
                    raise YamlError(f"{key} is given twice", key_node.start_mark.line + 1)
                seen.add(key)
            return super().construct_mapping(node, deep)

    number = re.compile(r"^[-+]?(\d[\d_]*(\.\d*)?|\.\d+)[eE][-+]?\d+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+0123456789."))
    return Loader
