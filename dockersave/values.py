"""Classes that are their fields, as `dataclasses` makes them, but at once.

`dataclasses` loads `inspect` and compiles six methods for each class: 30 ms of each start. Here all
classes share the same methods, and their fields are slots. `dataclasses.fields`, `replace` and
`asdict` work with them, and so does `inspect.signature`: what they look at is made when they look.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dataclasses import asdict, dataclass, field, replace
    from typing import Any

__all__ = ["asdict", "check_kind", "dataclass", "field", "names_of", "replace"]

_put = object.__setattr__
_none = object()
"""The default of a field that has none."""


class _Field:
    """As the arguments of `dataclasses.field`."""

    def __init__(self, **given: Any) -> None:
        self.given = given
        self.default = given.get("default", _none)
        self.default_factory = given.get("default_factory")
        self.init = given.get("init", True)
        self.repr = given.get("repr", True)


class _AsDataclass:
    """What `dataclasses` would have made of a class."""

    def __init__(self, cls: type, options: dict[str, bool]) -> None:
        self._cls = cls
        self._options = options
        self._made: Any = None

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        if self._made is None:
            self._made = self._make()
        return self._made

    def _make(self) -> Any:
        import dataclasses
        import inspect

        namespace = _namespace(self._cls)
        for name, value in namespace.items():
            if isinstance(value, _Field):
                namespace[name] = dataclasses.field(**value.given)
        copy = type(self._cls)(self._cls.__name__, self._cls.__bases__, namespace)
        made: type = dataclasses.dataclass(**self._options)(copy)
        if self._name != "__signature__":
            return vars(made)[self._name]
        # Of the method: the class may inherit a signature of this kind.
        whole = inspect.signature(vars(made)["__init__"])
        return whole.replace(parameters=list(whole.parameters.values())[1:])


def names_of(kind: type) -> tuple[str, ...]:
    """The names of the fields of a class, in their order."""
    return tuple(vars(kind)["__values__"])


def check_kind(kind: type, **given: object) -> None:
    """Refuse arguments of another class, which would fail much later and without their names.

    Args:
        kind: the right class.
        given: by name; None is no argument.

    Raises:
        TypeError: one is of another class.
    """
    for name, value in given.items():
        if not (value is None or isinstance(value, kind)):
            raise TypeError(f"{name} must be of class {kind.__name__}, not {type(value).__name__}")


def _namespace(cls: type) -> dict[str, Any]:
    names = {**vars(cls), "__annotations__": cls.__annotations__}
    return {name: names[name] for name in names if name not in ("__dict__", "__weakref__")}


def _init(self: Any, *values: Any, **named: Any) -> None:
    cls = type(self)
    given = dict(zip(cls.__match_args__, values, strict=False))
    for name, each in cls.__values__.items():
        if name in given:
            value = given[name]
        elif name in named and each.init:
            value = named.pop(name)
        elif each.default is not _none:
            value = each.default
        elif each.default_factory:
            value = each.default_factory()
        elif each.init:
            raise TypeError(f"{cls.__name__}() needs {name}")
        else:
            continue
        _put(self, name, value)
    if len(values) > len(given):
        raise TypeError(f"{cls.__name__}() takes {len(given)} values in order, not {len(values)}")
    if named:
        raise TypeError(f"{cls.__name__}() has no {next(iter(named))}, or it was given twice")
    if hasattr(cls, "__post_init__"):
        self.__post_init__()


def _all(self: Any) -> tuple[Any, ...]:
    return tuple([getattr(self, name) for name in self.__values__])


def _repr(self: Any) -> str:
    shown = [name for name, each in self.__values__.items() if each.repr]
    text = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
    return f"{type(self).__qualname__}({text})"


def _eq(self: Any, other: Any) -> Any:
    return _all(self) == _all(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_all(self))


def _refuse(self: Any, name: str, *value: Any) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _setstate(self: Any, state: tuple[None, dict[str, Any]]) -> None:
    """Take what `copy` and `pickle` have read."""
    for name, value in state[1].items():
        _put(self, name, value)


if not TYPE_CHECKING:
    field = _Field

    def dataclass(*, frozen=False, eq=True, kw_only=False, slots):
        """Make a class of annotations, as `dataclasses.dataclass` does with the same arguments.

        Args:
            frozen: its values never change.
            eq: they are equal if their fields are.
            kw_only: fields are given by name only.
            slots: must be true.
        """
        options = {"frozen": frozen, "eq": eq, "kw_only": kw_only}

        def make(cls):
            own = {}
            for name in cls.__annotations__:
                value = vars(cls).get(name, _none)
                own[name] = value if isinstance(value, _Field) else _Field(default=value)
            fields = {**getattr(cls, "__values__", {}), **own}
            methods = {"__init__": _init, "__repr__": _repr}
            if eq:
                methods |= {"__eq__": _eq, "__hash__": _hash if frozen else None}
            if frozen:
                methods |= {"__setattr__": _refuse, "__delattr__": _refuse}
                methods["__setstate__"] = _setstate
            made = {name: _AsDataclass(cls, options) for name in _MADE_LATER}
            names = [] if kw_only else [name for name, each in fields.items() if each.init]
            made |= {"__values__": fields, "__match_args__": tuple(names), "__slots__": tuple(own)}
            kept = {name: each for name, each in _namespace(cls).items() if name not in own}
            result = type(cls)(cls.__name__, cls.__bases__, {**methods, **kept, **made})
            result.__qualname__ = cls.__qualname__
            return result

        return make

    def replace(value, /, **changes):
        """A copy of a value with some fields changed."""
        fields = {
            name: getattr(value, name) for name, each in value.__values__.items() if each.init
        }
        return type(value)(**{**fields, **changes})

    def asdict(value):
        """The fields of a value and of those in it, by name."""
        if hasattr(value, "__values__"):
            return {name: asdict(getattr(value, name)) for name in value.__values__}
        if type(value) in (list, tuple):
            return type(value)(map(asdict, value))
        return value


_MADE_LATER = ("__dataclass_fields__", "__dataclass_params__", "__signature__")
