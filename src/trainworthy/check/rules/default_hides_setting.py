"""A method's default is used in place of the object's setting of that name.

What it finds:
    `def _evaluate(self, max_length=1000)` in a class whose constructor keeps `self.max_length`, when every call in the
    class leaves the argument out. Also `def setup(self, worker=Worker)` that hands `worker` on to a method that asks
    `getattr(self.algorithm, "worker", Worker)` if it is None: it never is.

Why:
    Evaluation, sampling or resizing goes by a number that nobody chose, whatever the object was made with.

How sure:
    The class itself calls the method, no call in its file gives the argument, and nothing is handed the method; it does
    not read the setting. Silent if another file calls a method of that name with the argument, or a subclass hands it
    on by `super()`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.everywhere import project_files, text_of
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
class Learner:
    def __init__(self, policy, env, max_length=200):
        self.policy = policy
        self.env = env
        self.max_length = max_length

    def train(self):
        for _ in range(10):
            collect(self.env, self.policy, self.max_length)
            print(self._evaluate())

    def _evaluate(self, max_length=1000):  # <- TW885
        return collect(self.env, self.policy, max_length)


def collect(env, policy, max_length):
    return [env.step(policy(one)) for one in range(max_length)]
"""

GOOD = """\
class Learner:
    def __init__(self, policy, env, max_length=200):
        self.policy = policy
        self.env = env
        self.max_length = max_length

    def train(self):
        for _ in range(10):
            collect(self.env, self.policy, self.max_length)
            print(self._evaluate())

    def _evaluate(self):
        return collect(self.env, self.policy, self.max_length)


def collect(env, policy, max_length):
    return [env.step(policy(one)) for one in range(max_length)]
"""

_LONGEST = 3000  # letters of a call's arguments


@rule(code="TW885", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at methods with a default that the object has a setting for."""
    for cls in analysis.nodes.get(ast.ClassDef, []):
        if isinstance(cls, ast.ClassDef):
            yield from _in_class(analysis, cls)
            yield from _hidden(analysis, cls)


def _in_class(analysis: Analysis, cls: ast.ClassDef) -> Iterator[Hit]:
    methods = [one for one in cls.body if isinstance(one, ast.FunctionDef) and not one.decorator_list]
    init = next((one for one in methods if one.name == "__init__"), None)
    if init is None:
        return
    given = {one.arg for one in (*init.args.args, *init.args.kwonlyargs)}
    for method in methods:
        for name, default in _numbers(method):
            if name not in given or method is init or f"self.{name}" not in analysis.source.text:
                continue
            settings = [one for one in nodes_of(cls, ast.Attribute) if one.attr == name
                        and getattr(one.value, "id", "") == "self"]  # fmt: skip
            reads = [one for one in settings if isinstance(one.ctx, ast.Load)]
            own = any(one in settings for one in walk(method))
            if len(reads) == len(settings) or own or not _is_always_left_out(analysis, cls, method, name):
                continue
            yield Hit(
                place=analysis.source.place(default),
                message=f"`{method.name}` always goes by {unparsed(default)}, never by `self.{name}`",
                evidence=(Evidence("the setting", analysis.source.place((reads or settings)[0])),),
                fix=f"Use `self.{name}`.",
            )


def _numbers(method: ast.FunctionDef) -> Iterator[tuple[str, ast.expr]]:
    """Yield the parameters that have a number as their default."""
    for one, default in zip(reversed(method.args.args), reversed(method.args.defaults), strict=False):
        if isinstance(default, ast.Constant) and type(default.value) in (int, float):
            yield one.arg, default


def _is_always_left_out(analysis: Analysis, cls: ast.ClassDef, method: ast.FunctionDef, name: str) -> bool:
    """Say whether the class calls its method, and nobody in the file ever gives it the argument."""
    place = [one.arg for one in method.args.args].index(name)
    calls = [one for one in analysis.nodes.get(ast.Call, []) if isinstance(one, ast.Call)]
    calls = [one for one in calls if getattr(one.func, "attr", "") == method.name]
    mentions = [one for one in analysis.nodes.get(ast.Attribute, []) if getattr(one, "attr", "") == method.name]
    if len(mentions) > len(calls):  # handed on, to be called by others
        return False
    inside = set(walk(cls))
    own = [one for one in calls if one in inside and unparsed(one.func).startswith("self.")]
    for call in calls:
        keywords = {one.arg for one in call.keywords}
        if name in keywords or None in keywords or len(call.args) >= place:
            return False
        if any(isinstance(one, ast.Starred) for one in call.args):
            return False
    return bool(own) and not _is_given_elsewhere(analysis, method.name, name, place)


def _is_given_elsewhere(analysis: Analysis, method: str, name: str, place: int) -> bool:
    """Say whether another file may give the argument: to any method of that name, or on to that of the base."""
    texts = [text_of(one) for one in project_files(analysis.source.path) or ()]
    return any(is_given_in(text, method, name, place) for text in texts if text != analysis.source.text)


def is_given_in(text: str, method: str, name: str, place: int) -> bool:
    """Say whether a program calls a method with an argument, by its name or, with `super()`, at its place.

    >>> (
    ...     is_given_in("model.decode(x, beam=one(2))", "decode", "beam", 3),
    ...     is_given_in("x.decode(3)", "decode", "beam", 1),
    ... )
    (True, False)
    >>> is_given_in("super().decode(x, 3)", "decode", "beam", 2)
    True
    """
    for match in re.finditer(rf"(\bsuper\([^()]*\))?\.{method}\(", text):
        given, ends = [""], match.end()
        depth = 1
        for letter in text[ends : ends + _LONGEST]:
            depth += (letter in "([{") - (letter in ")]}")
            if depth == 0:
                break
            given = [*given, ""] if depth == 1 and letter == "," else [*given[:-1], given[-1] + letter]
        given = [one.strip() for one in given if one.strip()]
        if any(re.match(rf"{name}\s*=", one) for one in given):
            return True
        if match[1] and (len(given) >= place or any(one.startswith("*") for one in given)):
            return True
    return False


def _hidden(analysis: Analysis, cls: ast.ClassDef) -> Iterator[Hit]:
    """Yield defaults that keep another method of the class from asking an object for its own."""
    methods = [one for one in cls.body if isinstance(one, ast.FunctionDef)]
    asking = {(one.name, name): last for one in methods for name, last in _asks(one)} if "getattr" in _text(cls) else {}
    for method in methods if asking else ():
        for one, default in zip(reversed(method.args.args), reversed(method.args.defaults), strict=False):
            for call in walk(method):
                name = getattr(call.func, "attr", "") if isinstance(call, ast.Call) else ""
                last = asking.get((name, one.arg))
                if last is None or not isinstance(call, ast.Call) or last != unparsed(default):
                    continue
                if any(key.arg == one.arg and getattr(key.value, "id", "") == one.arg for key in call.keywords):
                    yield Hit(
                        place=analysis.source.place(default),
                        message=f"`{name}` asks another object if `{one.arg}` is None: with this default it never is",
                        evidence=(Evidence("it is handed on here", analysis.source.place(call)),),
                        fix="Make None the default.",
                    )


def _text(cls: ast.ClassDef) -> set[str]:
    return {one.id for one in nodes_of(cls, ast.Name)}


def _asks(method: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    """Yield the parameters that a method replaces by `getattr(other, "...", default)` if they are None, with that."""
    for one in method.body:
        test = one.test if isinstance(one, ast.If) else None
        if isinstance(one, ast.If) and isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Is):
            name, statement = getattr(test.left, "id", ""), one.body[0]
            value = statement.value if isinstance(statement, ast.Assign) else None
            asks = isinstance(value, ast.Call) and getattr(value.func, "id", "") == "getattr"
            if asks and isinstance(value, ast.Call) and value.args[2:] and unparsed(test.comparators[0]) == "None":
                yield name, unparsed(value.args[2])
