"""A value is there under its name, nothing reads it, and another takes its place.

What it finds:
    A parameter that its function never reads, while a call there gets a constant for the argument of that name
    (`shuffle=False` in a function with a parameter `shuffle`), or that it hands on under its name elsewhere, while one
    call gets its default written out; a variable that is made and never read, while another
    is given for the argument of its name, or one of nearly the same name is given twice or used in its stead
    (`masks, masks` beside `bad_masks`, `q_preds` beside `next_q_preds`). Likewise a value that an `if` and its `else`
    choose, or `a if condition else b`, and that nothing reads; what is taken out where the function asked whether it is
    there (`if "soft_labels" in batch:`), and that nothing reads; the result of a call that goes to a name that nothing
    reads in one branch, and to the name in use in the other; and a method that calls the one that it overrides with its
    own parameters' defaults written out.

Why:
    What the caller asked for has no effect, or the loss is computed of the wrong one of two values: nothing fails.

How sure:
    The function is read as a whole, inner functions included. Silent about functions that are decorated, that hand
    their names on by `locals()` or `save_hyperparameters`, about stubs, and about parameters that methods have for the
    sake of an interface, and about a constant for a part within another if one of the same class gets the parameter;
    about choices between calls, which may be made for what they do, and choices that are checked no further in tests.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit, Place
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Bindings, Def, bindings_of, functions_of, is_stub
from trainworthy.check.static.left_unread import asked_for, chosen, given_elsewhere
from trainworthy.check.static.queries import is_a_test
from trainworthy.check.static.tree import nodes_of, unparsed, walk
from trainworthy.check.static.values import ProjectClass

BAD = """\
import torch
from torch.utils.data import DataLoader


def loader_of(data, batch_size, shuffle=True):
    return DataLoader(data, batch_size=batch_size, shuffle=False)  # <- TW845


def targets_of(net, target_net, states, next_states, actions, rewards):
    q_preds = net(states)
    next_q_preds = target_net(next_states)  # <- TW845
    act_next = q_preds.gather(-1, actions)
    return rewards + 0.99 * act_next
"""

GOOD = """\
import torch
from torch.utils.data import DataLoader


def loader_of(data, batch_size, shuffle=True):
    return DataLoader(data, batch_size=batch_size, shuffle=shuffle)


def targets_of(net, target_net, states, next_states, actions, rewards):
    q_preds = net(states)
    next_q_preds = target_net(next_states)
    act_next = next_q_preds.gather(-1, actions)
    return rewards + 0.99 * act_next, q_preds
"""

# Arguments that functions have for the sake of their callers or of an older version.
_COMMON = frozenset(
    "verbose debug device dtype name names index step axis dim timeout strict return_dict output_dict split "
    "epoch".split()
)
_HOOK = re.compile(r"^(on_|configure_|test_|_?__)|_hook$|^forward$")

# Decorators that hand a function's arguments on as they are.
_KEEPS_ARGUMENTS = re.compile(r"^(\w+\.)?(no_grad|enable_grad|inference_mode)\b|^(static|class)method$")


@rule(code="TW845", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at functions with names that nothing reads."""
    if "torch" not in analysis.source.words or analysis.mentions("save_hyperparameters"):
        return
    methods = _methods(analysis)
    for node in functions_of(analysis.nodes):
        if is_stub(node) or not all(_KEEPS_ARGUMENTS.search(unparsed(one)) for one in node.decorator_list):
            continue
        names = bindings_of(node)
        if names.opaque:
            continue
        yield from _constants_for_parameters(analysis, names, methods.get(node))
        yield from _defaults_written_out(analysis, names)
        yield from _defaults_for_the_base(analysis, names)
        yield from _others_for_values(analysis, names)
        yield from _unread_choices(analysis, names)


def _methods(analysis: Analysis) -> dict[ast.AST, ProjectClass]:
    return {one: cls for cls in analysis.classes for one in cls.node.body}


def _constants_for_parameters(analysis: Analysis, names: Bindings, cls: ProjectClass | None) -> Iterator[Hit]:
    """Yield calls with a constant for an argument that the function has as a parameter, and ignores."""
    node = names.function
    if _HOOK.search(node.name) or (cls is not None and _is_of_an_interface(cls, node)):
        return
    ignored = {one for one in names.parameters if not names.is_read(one) and one not in names.stores} - _COMMON
    if not ignored:
        return
    for call in names.calls:
        for keyword in call.keywords:
            value = keyword.value
            if keyword.arg in ignored and isinstance(value, ast.Constant) and not isinstance(value.value, str | None):
                yield Hit(
                    place=analysis.source.place(keyword),
                    message=f"`{keyword.arg}` is a parameter of `{node.name}` that nothing reads; this is always "
                    f"{unparsed(value)}",
                    evidence=(Evidence("the function", _header(analysis, node)),),
                    fix=f"Write `{keyword.arg}={keyword.arg}`.",
                )


def _unread_choices(analysis: Analysis, names: Bindings) -> Iterator[Hit]:
    """Yield what is chosen, asked for or given to one of two names, and read by nothing."""
    if is_a_test(analysis.source):
        return
    unread = {name for _, name in names.plain_assignments() if _is_unread(names, name)}
    for name, statement in chosen(names, unread):
        yield Hit(
            place=analysis.source.place(statement),
            message=f"`{name}` is chosen here, and nothing reads it: the choice has no effect",
            fix=f"Use `{name}` where it belongs, or remove the choice.",
        )
    for name, statement, test in asked_for(names, unread):
        yield Hit(
            place=analysis.source.place(statement),
            message=f"nothing reads `{name}`, though the function asks whether it is there",
            evidence=(Evidence("it asks here", analysis.source.place(test)),),
            fix=f"Use `{name}` where it belongs, or remove it.",
        )
    for name, statement, other, elsewhere in given_elsewhere(names):
        yield Hit(
            place=analysis.source.place(statement),
            message=f"nothing reads `{name}`; the other branch gives the same to `{other}`, which is used",
            evidence=(Evidence("the other branch", analysis.source.place(elsewhere)),),
            fix=f"Write `{other}` here.",
        )


def _is_unread(names: Bindings, name: str) -> bool:
    known = name.startswith("_") or name in names.parameters or name in names.defined
    return not known and not names.is_used(name)


def _defaults_for_the_base(analysis: Analysis, names: Bindings) -> Iterator[Hit]:
    """Yield calls of an overridden method that get nothing but the defaults of the parameters that it shares."""
    node = names.function
    calls = [one for one in names.calls if len(one.keywords) > 1 and _is_of_the_base(one, node.name)]
    constants = _constant_defaults(node) if calls else {}
    tests = [part.test for part in nodes_of(node, ast.If)] if constants else []
    asked = {one.id for test in tests for one in nodes_of(test, ast.Name)}
    for call in calls:
        own = [one for one in call.keywords if one.arg in constants]
        written = [str(one.arg) for one in own if _is_constant(one.value, constants[str(one.arg)])]
        forgotten = [one for one in written if one not in asked and one not in names.stores and one not in _COMMON]
        if len(written) == len(own) > 1 and len(forgotten) > 1:
            first = forgotten[0]
            yield Hit(
                place=analysis.source.place(call),
                message=f"the method that `{node.name}` overrides gets the defaults of `{'`, `'.join(forgotten)}`, "
                "whatever the caller gave",
                evidence=(Evidence("the method", _header(analysis, node)),),
                fix=f"Write `{first}={first}`, and so on.",
            )


def _is_of_the_base(call: ast.Call, name: str) -> bool:
    func = call.func
    of = func.value if isinstance(func, ast.Attribute) and func.attr == name else None
    return isinstance(of, ast.Call) and getattr(of.func, "id", "") == "super"


def _is_constant(node: ast.expr, value: object) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is type(value) and node.value == value


def _constant_defaults(node: Def) -> dict[str, object]:
    """Return the parameters whose default is a constant, with it."""
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    pairs = [*zip(reversed(positional), reversed(arguments.defaults), strict=False)]
    pairs += [(one, value) for one, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value]
    return {one.arg: value.value for one, value in pairs if isinstance(value, ast.Constant)}


def _defaults_written_out(analysis: Analysis, names: Bindings) -> Iterator[Hit]:
    """Yield calls that get a parameter's default where the others of the function get the parameter."""
    constants = _constant_defaults(names.function).items()
    texts = {name: value for name, value in constants if isinstance(value, str) and name not in names.stores}
    given = [keyword for call in names.calls for keyword in call.keywords if keyword.arg in texts] if texts else []
    for keyword in given:
        name, value = keyword.arg or "", keyword.value
        if not isinstance(value, ast.Constant) or value.value != texts[name]:
            continue
        handed = [one for one in given if one.arg == name and getattr(one.value, "id", "") == name]
        asked = any(isinstance(one, ast.Compare) and name in unparsed(one) for one in walk(names.function))
        if len(handed) > 1 and not asked and not _is_a_part_of_its_own(names, keyword, handed):
            yield Hit(
                place=analysis.source.place(keyword),
                message=f"`{name}` is {value.value!r} here whatever `{names.function.name}` was given",
                evidence=(Evidence("here it is handed on", analysis.source.place(handed[0])),),
                fix=f"Write `{name}={name}`.",
            )


def _is_a_part_of_its_own(names: Bindings, keyword: ast.keyword, handed: list[ast.keyword]) -> bool:
    """Say whether a part is made with the constant inside of another, and one of its class with the parameter."""
    call = next(one for one in names.calls if keyword in one.keywords)
    same = [one for one in names.calls if unparsed(one.func) == unparsed(call.func)]
    known = any(one in handed for other in same for one in other.keywords)
    return known and any(one is not call and call in walk(one) for one in names.calls)


def _is_of_an_interface(cls: ProjectClass, node: Def) -> bool:
    """Say whether a method may have its parameters because a base or a caller elsewhere wants them."""
    if not cls.fully_known():
        return True
    bases = [one for one in cls.bases if isinstance(one, ProjectClass)]
    outside = cls.outside_base()
    return any(one.lookup(node.name) is not None for one in bases) or bool(
        outside and not outside.startswith(("torch.nn.Module", "builtins.object", "abc."))
    )


def _others_for_values(analysis: Analysis, names: Bindings) -> Iterator[Hit]:
    """Yield assignments whose value nothing reads, where another stands in its place."""
    last = {name: statement for statement, name in names.plain_assignments()}
    plain = Counter(name for _, name in names.plain_assignments())
    for name, statement in last.items():
        if name.startswith("_") or name in names.parameters or len(names.stores[name]) != plain[name]:
            continue
        if names.is_used(name):
            continue
        use = _other_keyword(names, statement, name) or _given_twice(names, statement, name)
        use = use or (_used_instead(names, statement, name) if _is_computed(statement) else None)
        if use is not None:
            yield Hit(
                place=analysis.source.place(statement),
                message=f"nothing reads `{name}`; `{use.id}` is used where it belongs",
                evidence=(Evidence("used here", analysis.source.place(use)),),
                fix=f"Use `{name}` there, or remove it.",
            )


def _other_keyword(names: Bindings, statement: ast.Assign, name: str) -> ast.Name | None:
    """Return another variable that a later call gets for the argument of this name."""
    for call in names.calls:
        if call.lineno > statement.lineno:
            for keyword in call.keywords:
                value = keyword.value
                if keyword.arg != name or not isinstance(value, ast.Name) or _parts(name)[-1:] == [value.id]:
                    continue
                if not set(_parts(name)) < set(_parts(value.id)):  # that would be one of its kind, chosen by name
                    return value
    return None


def _given_twice(names: Bindings, statement: ast.Assign, name: str) -> ast.Name | None:
    """Return a variable that a later call gets twice, and whose name is a part of this one."""
    for call in names.calls:
        given = [one for one in call.args if isinstance(one, ast.Name)]
        for other, count in Counter(one.id for one in given).items():
            if count > 1 and call.lineno > statement.lineno and name.endswith(f"_{other}"):
                return [one for one in given if one.id == other][-1]
    return None


def _is_computed(statement: ast.Assign) -> bool:
    """Say whether a value is computed of others: a count, a container or a flag is not."""
    value = statement.value
    if isinstance(value, ast.Call):
        name = getattr(value.func, "id", "") or getattr(value.func, "attr", "")
        return bool(value.args) and name not in _MAKERS
    return isinstance(value, ast.BinOp) and not isinstance(value.op, ast.BitOr | ast.BitAnd | ast.FloorDiv)


_MAKERS = frozenset(
    "len range list dict set tuple int float str bool open print zip enumerate super Path ceil floor round log2".split()
)


def _used_instead(names: Bindings, statement: ast.Assign, name: str) -> ast.Name | None:
    """Return a later use of a variable whose name differs by one word, in a place that this one fits."""
    own = _parts(name)
    made_of = {one.id for one in nodes_of(statement.value, ast.Name)}
    for other, reads in names.reads.items():
        parts = _parts(other)
        if other not in names.stores or len(parts) < 1 or parts[-1] != own[-1] or len(set(own) ^ set(parts)) != 1:
            continue
        if own[-1] in _SIZES or len(own) < 2:
            continue
        extra = set(own) - set(parts)
        for read in reads:
            after = read.lineno > (statement.end_lineno or statement.lineno)
            anew = any(statement.lineno < one.lineno < read.lineno for one in names.stores[other])
            if after and not anew and (other in made_of or (extra and _target_says(names, read, extra))):
                return read
    return None


_SIZES = frozenset({"dim", "dims", "size", "len", "length", "num", "count", "shape", "hiddens", "id", "path", "name"})


def _parts(name: str) -> list[str]:
    return [one for one in re.split(r"_|(?<=[a-z])(?=\d)|(?<=\d)(?=[a-z])", name.lower()) if one]


def _target_says(names: Bindings, read: ast.Name, words: set[str]) -> bool:
    """Say whether what is computed with a name is called after words that the name lacks."""
    for statement, target in names.plain_assignments():
        if words & set(_parts(target)) and any(one is read for one in walk(statement.value)):
            return True
    return False


def _header(analysis: Analysis, node: Def) -> Place:
    where = analysis.source.place(node)
    return where._replace(end_line=where.line, end_column=None)
