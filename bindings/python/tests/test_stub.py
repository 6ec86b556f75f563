"""The hand-written stub says what the module is."""

from __future__ import annotations

import ast
import inspect

from slim_bindings import _slim_bindings as native
from support import ROOT

STUB = ROOT / "bindings/python/python/slim_bindings/_slim_bindings.pyi"


def declared() -> tuple[dict[str, list[str]], dict[str, dict[str, list[str] | None]]]:
    """Functions with their parameters; classes with their methods (parameters) and properties (None)."""
    functions, classes = {}, {}
    for node in ast.parse(STUB.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            functions[node.name] = [argument.arg for argument in node.args.args]
        elif isinstance(node, ast.ClassDef):
            members: dict[str, list[str] | None] = {}
            for member in node.body:
                assert isinstance(member, ast.FunctionDef)
                is_property = any(ast.unparse(decorator) == "property" for decorator in member.decorator_list)
                members[member.name] = None if is_property else [argument.arg for argument in member.args.args]
            classes[node.name] = members
    return functions, classes


def public(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


def test_every_function_and_class_is_declared_and_nothing_else() -> None:
    functions, classes = declared()
    assert public(native) == {*functions, *classes}


def test_functions_have_the_declared_parameters() -> None:
    functions, _ = declared()
    for name, parameters in functions.items():
        assert list(inspect.signature(getattr(native, name)).parameters) == parameters, name


def test_classes_have_the_declared_methods_and_properties() -> None:
    _, classes = declared()
    for name, members in classes.items():
        kind = getattr(native, name)
        assert public(kind) == set(members), name
        for member, parameters in members.items():
            attribute = inspect.getattr_static(kind, member)
            if parameters is None:
                assert inspect.isgetsetdescriptor(attribute), f"{name}.{member}"
            else:
                assert list(inspect.signature(attribute).parameters) == parameters, f"{name}.{member}"
