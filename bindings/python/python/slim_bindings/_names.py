"""Names: organisation, namespace, application or channel, and the number of one instance."""

from __future__ import annotations

import uuid

from slim_bindings import _slim_bindings

#: All bits set: no instance in particular.
_ANY = 2**128 - 1


class PyName:
    """Three readable parts and an instance id of up to 128 bits.

    The id is all ones until it is set. ``Slim.new`` replaces it by the application's real id, which follows from its
    identity. Names are equal when their parts and their ids are; the hash leaves the id out, since it may change.
    """

    __slots__ = ("_components", "_id")

    def __init__(self, component0: str, component1: str, component2: str, id: int | None = None) -> None:
        components = (component0, component1, component2)
        for component in components:
            if not isinstance(component, str):
                raise TypeError(f"a name component is str, not {type(component).__name__}")
        _slim_bindings.name_hashes(*components)
        self._components = components
        self._id = _ANY
        if id is not None:
            self.id = id

    @classmethod
    def _of(cls, parts: tuple[str, str, str, int]) -> PyName:
        return cls(*parts)

    @property
    def _parts(self) -> tuple[str, str, str, int]:
        return (*self._components, self._id)

    @property
    def id(self) -> int:
        """The instance id; all ones when there is none."""
        return self._id

    @id.setter
    def id(self, value: int) -> None:
        if not isinstance(value, int):
            raise TypeError(f"a name's id is int, not {type(value).__name__}")
        if not 0 <= value <= _ANY:
            raise ValueError("a name's id has 128 bits and no sign")
        self._id = value

    def set_id(self, id: int) -> None:
        """Sets the instance id."""
        self.id = id

    def components(self) -> list[int]:
        """Four numbers: the 64-bit hashes of the parts, and the id."""
        return [*_slim_bindings.name_hashes(*self._components), self._id]

    def components_strings(self) -> list[str]:
        """The three readable parts."""
        return list(self._components)

    def equal_without_id(self, other: PyName) -> bool:
        """True if the three parts agree."""
        return self._components == other._components

    def _without_id(self) -> PyName:
        return PyName(*self._components)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PyName):
            return NotImplemented
        return self._parts == other._parts

    def __hash__(self) -> int:
        return hash(self._components)

    def __str__(self) -> str:
        path = "/".join(self._components)
        return path if self._id == _ANY else f"{path}/{uuid.UUID(int=self._id)}"

    def __repr__(self) -> str:
        return f"PyName({str(self)!r})"
