"""`dockersave.values` against `dataclasses`: the same classes, made by both."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from typing import Any

import pytest

from dockersave import Descriptor, Network, Options
from dockersave.model.image import Artifact, Variant
from dockersave.transfer.blobs import Lease
from dockersave.values import asdict, dataclass, field, replace

DIGEST = "sha256:" + "0" * 64


def classes(lean: bool) -> tuple[Any, Any, Any]:
    """A frozen class, one derived from it, and one that can be changed."""
    # For types, both are one.
    make: Any = dataclass if lean else dataclasses.dataclass
    options: Any = field if lean else dataclasses.field

    @make(frozen=True, slots=True)
    class Point:
        """A point."""

        x: int
        y: int = 2
        tags: list[str] = options(default_factory=list)
        secret: str | None = options(default=None, repr=False)

        def __post_init__(self) -> None:
            if self.x < 0:
                raise ValueError("negative")

    @make(frozen=True, slots=True)
    class Place(Point):
        z: int = 3

    @make(slots=True)
    class Open:
        a: int
        b: int = options(init=False)

    return Point, Place, Open


@pytest.fixture(params=[True, False], ids=["values", "dataclasses"])
def made(request: pytest.FixtureRequest) -> tuple[Any, Any, Any]:
    return classes(request.param)


def test_values_are_what_they_were_given(made: tuple[Any, Any, Any]) -> None:
    point, place, changing = made
    assert repr(point(1, tags=["a"], secret="s")).endswith("Point(x=1, y=2, tags=['a'])")
    assert place(1, 2, [], None, 4) == place(x=1, z=4)
    assert place(1) != point(1)
    assert point(1).tags is not point(1).tags
    assert hash(point(1, tags=())) == hash(point(1, tags=()))
    one = changing(1)
    one.b = one.a + 1
    assert (one.a, one.b) == (1, 2)
    assert changing.__hash__ is None
    assert not hasattr(one, "__dict__")


@pytest.mark.parametrize(
    ("values", "named"),
    [((), {}), ((1, 2, [], None, 5), {}), ((1,), {"x": 1}), ((1,), {"w": 1})],
)
def test_wrong_arguments(
    made: tuple[Any, Any, Any], values: tuple[Any, ...], named: dict[str, Any]
) -> None:
    with pytest.raises(TypeError):
        made[0](*values, **named)


def test_what_is_frozen_stays(made: tuple[Any, Any, Any]) -> None:
    point = made[0](1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        point.x = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        del point.x
    with pytest.raises(ValueError, match="negative"):
        made[0](-1)
    assert copy.deepcopy(point) == point
    with pytest.raises(TypeError):
        made[2](1, b=2)


def test_python_takes_them_for_dataclasses() -> None:
    ours: tuple[Any, ...] = classes(True)
    theirs: tuple[Any, ...] = classes(False)
    our: Any
    their: Any
    for our, their in zip(ours, theirs, strict=True):
        assert inspect.signature(our) == inspect.signature(their)
        assert our.__match_args__ == their.__match_args__
        assert [(each.name, each.repr, each.init) for each in dataclasses.fields(our)] == [
            (each.name, each.repr, each.init) for each in dataclasses.fields(their)
        ]
        assert (our.__doc__ or "").startswith("A point") == (our is ours[0])
    assert all(map(dataclasses.is_dataclass, ours))
    for our in ours:  # made once: asdict asks for each value
        assert our.__dataclass_fields__ is our.__dataclass_fields__
    point = ours[0](1, 5)
    assert dataclasses.replace(point, y=6) == replace(point, y=6) == ours[0](1, 6)
    assert dataclasses.asdict(point) == {"x": 1, "y": 5, "tags": [], "secret": None}
    around = ours[0](1, (2, [point]))
    assert asdict(around) == dataclasses.asdict(around)


def test_those_of_the_package() -> None:
    descriptor = Descriptor("application/x", DIGEST, 3)
    assert pickle.loads(pickle.dumps(descriptor)) == descriptor
    assert Network(user="me", password="secret") != Network(user="me")
    assert "secret" not in repr(Network(user="me", password="secret"))
    with pytest.raises(TypeError):
        Options("linux/amd64")  # type: ignore[call-arg]
    assert [each.name for each in dataclasses.fields(Variant)][-1:] == ["config"]
    assert issubclass(Variant, Artifact)
    assert "position" not in inspect.signature(Lease).parameters
