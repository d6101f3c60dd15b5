"""What an expression can be known to be. Everything not understood is ``UNKNOWN``; rules stay silent about it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from trainworthy.check.static.tree import nodes_of

if TYPE_CHECKING:
    from trainworthy.check.static.facts import Call
    from trainworthy.check.static.scope import Scope
    from trainworthy.check.static.source import Source

# A size: a number, or None where it is not known. A shape: None where even the rank is not known.
Shape = tuple[int | None, ...]
Activation = Literal["softmax", "log_softmax", "sigmoid"]
# Modules that hold another as `module` and are called as it is.
WRAPPERS = frozenset({"torch.nn.parallel.DistributedDataParallel", "torch.nn.DataParallel"})


class Value:
    """Anything; the base says nothing."""

    __slots__ = ()


UNKNOWN = Value()


@dataclass(frozen=True, slots=True)
class Const(Value):
    """A literal number, string, bool, bytes or None."""

    value: object


NONE = Const(None)


@dataclass(frozen=True, slots=True)
class Ref(Value):
    """Something outside of the project, by its full name: ``torch.nn.Linear``."""

    name: str


@dataclass(frozen=True, slots=True)
class EnvText(Value):
    """The text of an environment variable; never a number."""

    name: str


@dataclass(frozen=True, slots=True)
class Tensor(Value):
    """A tensor or array.

    Attributes:
        library: Whose: ``torch.Tensor`` or ``numpy.ndarray``.
        shape: Its sizes.
        dtype: ``bool``, ``float``, ``int`` or None.
        activation: The activation that made its numbers, through views and casts.
        made_by: The call that applied that activation, or made the tensor.
        loss: Whether it is the value of a loss function, with its graph.
        layer: The call of the layer, or network for classes, whose output it is as it is, through views and casts.
    """

    library: Literal["torch.Tensor", "numpy.ndarray"] = "torch.Tensor"
    shape: Shape | None = None
    dtype: str | None = None
    activation: Activation | None = None
    made_by: Call | None = field(default=None, compare=False)
    loss: bool = False
    layer: Call | None = field(default=None, compare=False)


@dataclass(eq=False, slots=True)
class Instance(Value):
    """An object of a class, made at one place.

    Attributes:
        type: Full name of the class outside of the project it is, or descends from; "" if none is known.
        cls: The project's class, if it is one.
        made_by: The call that made it.
        attrs: What is known of its attributes.
    """

    type: str
    cls: ProjectClass | None = None
    made_by: Call | None = None
    attrs: dict[str, Value] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class Entries:
    """What a dict holds under literal keys, as far as it is known; a dict is changed where it is."""

    values: dict[object, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sequence(Value):
    """A list, tuple, set or dict's values, of known length when ``items`` is not None.

    A comprehension has an ``element``: what its first turn makes. ``some`` are what was appended, among others.
    """

    kind: Literal["list", "tuple", "set", "dict"]
    items: tuple[Value, ...] | None
    node: ast.AST | None = field(default=None, compare=False)
    element: Value | None = field(default=None, compare=False)
    entries: Entries | None = None
    some: tuple[Value, ...] = field(default=(), compare=False)

    def appended(self, value: Value) -> Sequence:
        """Return the list with one more value; how often that is done is not known."""
        known = self.items if self.items is not None else () if self.element is None else (self.element,)
        element = value
        for one in known:
            element = join(one, element)
        first = not known and self.items is None
        return Sequence(
            "list", None, self.node, UNKNOWN if first else element, some=(*(self.items or self.some), value)
        )


@dataclass(frozen=True, slots=True)
class Parameters(Value):
    """The generator that ``owner.parameters()`` returned."""

    owner: Value
    call: Call = field(compare=False)


@dataclass(frozen=True, slots=True)
class StateDict(Value):
    """What ``owner.state_dict()`` returned: aliases of the live tensors."""

    owner: Value
    call: Call = field(compare=False)


@dataclass(frozen=True, slots=True)
class Bound(Value):
    """A method or attribute of a known object, not yet called."""

    owner: Value
    name: str


@dataclass(eq=False, slots=True)
class Function(Value):
    """A function of the project.

    Attributes:
        source: The file it stands in.
        node: Its definition.
        scope: Where its free names are looked up.
        owner: The class it is a method of.
        decorators: What is written above it.
        attrs: What is known of its attributes.
    """

    source: Source
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    scope: Scope
    owner: ProjectClass | None = None
    decorators: tuple[Value, ...] = ()
    attrs: dict[str, Value] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name; lambdas have none."""
        return getattr(self.node, "name", "<lambda>")


@dataclass(eq=False, slots=True)
class ProjectClass(Value):
    """A class of the project.

    Attributes:
        source: The file it stands in.
        node: Its definition.
        bases: The values of its bases.
        members: Its functions and class attributes.
    """

    source: Source
    node: ast.ClassDef
    bases: tuple[Value, ...]
    members: dict[str, Value]
    prototype: Instance | None = None
    _order: tuple[ProjectClass, ...] = ()

    def lookup(self, name: str) -> Value | None:
        """Find a member here or in the project's bases."""
        return next((one.members[name] for one in self.order() if name in one.members), None)

    def order(self) -> tuple[ProjectClass, ...]:
        """Return the class and the project's bases, in the order in which Python looks for a member."""
        if not self._order:
            bases = [one for one in self.bases if isinstance(one, ProjectClass)]
            self._order = (self, *_merged([*(one.order() for one in bases), tuple(bases)]))
        return self._order

    def outside_base(self, depth: int = 0) -> str:
        """Name the first base outside of the project, or "" if there is none."""
        if depth < 12:
            for base in self.bases:
                if isinstance(base, Ref):
                    return base.name
                if isinstance(base, ProjectClass):
                    found = base.outside_base(depth + 1)
                    if found:
                        return found
        return ""

    def inherited_around_overridden(self) -> list[Function]:
        """Return methods of the project's bases that call what this class overrides: they do something else in it."""
        found: dict[str, Function] = {}
        for base in [one for one in self.bases if isinstance(one, ProjectClass)][:3]:
            for name, member in base.members.items():
                inherited = name not in self.members and not name.startswith("__")
                if inherited and isinstance(member, Function) and _called_on_self(member.node) & self.members.keys():
                    found.setdefault(name, member)
        return list(found.values())

    def fully_known(self, depth: int = 0) -> bool:
        """Say whether every base is of the project or has a known name."""
        return depth < 12 and all(
            isinstance(base, Ref) or (isinstance(base, ProjectClass) and base.fully_known(depth + 1))
            for base in self.bases
        )


def _merged(orders: list[tuple[ProjectClass, ...]]) -> Iterator[ProjectClass]:
    """Merge the orders of bases as Python does: what descends from another comes before it."""
    left = [one for one in orders if one]
    while left:
        heads = [one[0] for one in left]
        first = next((head for head in heads if not any(head in one[1:] for one in left)), heads[0])
        yield first
        left = [rest for one in left if (rest := tuple(each for each in one if each is not first))]


def _called_on_self(node: ast.AST) -> set[str]:
    """Return the names of the methods that a function calls on ``self``."""
    return {
        one.func.attr
        for one in nodes_of(node, ast.Call)
        if isinstance(one.func, ast.Attribute) and isinstance(one.func.value, ast.Name) and one.func.value.id == "self"
    }


@dataclass(frozen=True, slots=True)
class Module(Value):
    """A module of the project."""

    source: Source
    name: str


@dataclass(frozen=True, slots=True)
class Later(Value):
    """A name imported from a module of the project that nobody has looked at yet."""

    importer: Source
    module: str
    name: str
    level: int


@dataclass(frozen=True, slots=True)
class Super(Value):
    """What ``super()`` returns: ``owner`` seen from the bases of ``cls``."""

    cls: ProjectClass
    owner: Value


def join(a: Value, b: Value) -> Value:
    """Return what is known when it is either ``a`` or ``b``; None beside an object means the object."""
    if a is b:
        return a
    if isinstance(a, Sequence) and isinstance(b, Sequence) and a.kind == b.kind and None in (a.items, b.items):
        return _join_sequences(a, b)
    if a == b:
        return a
    if isinstance(a, Const) and a.value is None:
        return b
    if isinstance(b, Const) and b.value is None:
        return a
    if isinstance(a, Tensor) and isinstance(b, Tensor) and a.library == b.library:
        if (0,) in (a.shape, b.shape):  # nothing yet
            return b if a.shape == (0,) else a
        return Tensor(
            library=a.library,
            shape=_join_shapes(a.shape, b.shape),
            dtype=a.dtype if a.dtype == b.dtype else None,
            activation=a.activation if a.activation == b.activation else None,
            made_by=a.made_by if a.activation == b.activation else None,
            loss=a.loss and b.loss,
            layer=a.layer if b.layer is not None else None,
        )
    if isinstance(a, Instance) and isinstance(b, Instance):
        if (
            a.type in WRAPPERS and a.attrs.get("module") is b
        ):  # wrapped on several devices or not: it is called in the same way
            return b
        if b.type in WRAPPERS and b.attrs.get("module") is a:
            return a
        if a.type == b.type and a.cls is b.cls and a.type:
            return Instance(type=a.type, cls=a.cls)
    if isinstance(a, Sequence) and isinstance(b, Sequence) and a.kind == b.kind:
        return _join_sequences(a, b)
    return UNKNOWN


def _join_sequences(a: Sequence, b: Sequence) -> Value:
    """Join two lists or dicts; an empty one says nothing."""
    if a.entries is not None and b.entries is not None:
        shared = {
            key: join(value, b.entries.values[key])
            for key, value in a.entries.values.items()
            if key in b.entries.values
        }
        return Sequence(a.kind, None, entries=Entries(shared))
    if () in (a.items, b.items):
        return b if a.items == () else a
    if a.kind != "list":
        return Sequence(a.kind, None)
    elements = [*(a.items or (a.element or UNKNOWN,)), *(b.items or (b.element or UNKNOWN,))]
    element = elements[0]
    for one in elements[1:]:
        element = join(element, one)
    # Most are in both: without telling them apart, their number would double at every branch and loop.
    some = {id(one): one for one in (*(a.items or a.some), *(b.items or b.some))}
    return Sequence("list", None, a.node, element, some=tuple(some.values()))


def _join_shapes(a: Shape | None, b: Shape | None) -> Shape | None:
    if a is None or b is None or len(a) != len(b):
        return None
    return tuple(m if m == n else None for m, n in zip(a, b, strict=True))
