"""Write a class defined in a notebook's cells as a module of its own, with everything that it refers to by name."""

from __future__ import annotations

import ast
import builtins
import inspect
import linecache
import symtable
import sys
import textwrap
from types import FunctionType, ModuleType
from typing import Any

from disentangle_bench.errors import BenchError

_FUTURE = 0x1000000
"""Flag of code compiled under ``from __future__ import annotations``."""


def text_of(thing: type) -> str | None:
    """Return the text of a module that defines ``thing``, or None if its source is not in a cell.

    Names are followed through all cells: classes and functions are copied, modules and their contents are imported, and
    plain values are written out. Raises ``BenchError`` for a name that stands for anything else.
    """
    function = _function(thing)
    if function is None or not linecache.getlines(function.__code__.co_filename):
        return None
    module = _Module(thing.__name__, function.__globals__)
    if not module.define(thing.__name__, thing):
        return None
    future = ["from __future__ import annotations"] if function.__code__.co_flags & _FUTURE else []
    return "\n".join([*future, *sorted(module.imports), *module.values, "", "", "\n\n\n".join(module.definitions), ""])


class _Module:
    """A module under construction; the values of names in ``space``, the namespace of the cells, are added to it."""

    def __init__(self, title: str, space: dict[str, Any]) -> None:
        self.title, self.space = title, space
        self.imports: set[str] = set()
        self.values: list[str] = []
        self.definitions: list[str] = []
        self._seen: set[str] = set()

    def define(self, name: str, value: Any) -> bool:
        """Add the definition of a class or function after those that it needs; return whether its cell is known."""
        text = _definition(name, value)
        if text is None:
            return False
        self._seen.add(name)
        for needed in sorted(_free(text)):
            if needed in self.space and needed not in self._seen:
                self._seen.add(needed)
                self._add(needed, self.space[needed], text)
        self.definitions.append(text)
        return True

    def _add(self, name: str, value: Any, text: str) -> None:
        if isinstance(value, ModuleType):
            self.imports.add(f"import {value.__name__}" + ("" if name == value.__name__ else f" as {name}"))
            self.imports |= _submodules(name, value, text)
            return
        home, label = getattr(value, "__module__", None), getattr(value, "__qualname__", getattr(value, "_name", None))
        if home != self.space.get("__name__") and label and getattr(sys.modules.get(home or ""), label, None) is value:
            self.imports.add(f"from {home} import {label}" + ("" if label == name else f" as {name}"))
        elif isinstance(value, type | FunctionType) and self.define(name, value):
            pass
        elif _is_plain(value):
            self.values.append(f"{name} = {value!r}")
        else:
            raise BenchError(
                f"{self.title} uses {name!r} of another cell, a {type(value).__name__}, which cannot be written to a "
                "file: begin the model's cell with %%writefile my_model.py, define all there, and give 'my_model.py'"
            )


def _function(thing: Any) -> FunctionType | None:
    """Return a function that was written in the same cell as ``thing``."""
    if isinstance(thing, FunctionType):
        return thing
    for value in vars(thing).values():
        value = inspect.unwrap(getattr(value, "__func__", None) or getattr(value, "fget", None) or value)
        own = isinstance(value, FunctionType) and value.__qualname__.startswith(f"{thing.__qualname__}.")
        if own and linecache.getlines(value.__code__.co_filename):
            return value
    return None


def _definition(name: str, value: Any) -> str | None:
    """Return the text of a class or function in its cell, with its decorators: the last definition of that name."""
    function = _function(value)
    if function is None:
        return _without_methods(value)
    return _in_cell(value.__name__, linecache.getlines(function.__code__.co_filename))


def _without_methods(value: Any) -> str | None:
    """Return the text of a class that has no functions, from the newest cell with a class of its name."""
    for key in reversed([key for key in linecache.cache if "ipykernel" in key or key.startswith("<")]):
        text = _in_cell(value.__name__, linecache.getlines(key))
        if text is not None:
            return text
    return None


def _in_cell(name: str, lines: list[str]) -> str | None:
    try:
        tree = ast.parse("".join(lines))
    except SyntaxError:
        return None
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in tree.body if isinstance(node, kinds) and node.name == name]
    if not nodes:
        return None
    first = min([nodes[-1].lineno, *(decorator.lineno for decorator in nodes[-1].decorator_list)])
    return textwrap.dedent("".join(lines[first - 1 : nodes[-1].end_lineno])).rstrip()


def _free(text: str) -> set[str]:
    """Return the names that a definition takes from its module."""
    names: set[str] = set()
    tables = [symtable.symtable(text, "cell", "exec")]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        top = table.get_type() == "module"
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (symbol.is_global() or (top and not symbol.is_assigned())):
                names.add(symbol.get_name())
    return names - set(dir(builtins))


def _submodules(name: str, module: ModuleType, text: str) -> set[str]:
    """Return imports of the submodules that ``text`` reaches through ``name``, such as ``scipy.stats``."""
    imports = set()
    for node in ast.walk(ast.parse(text)):
        path = ast.unparse(node).split(".") if isinstance(node, ast.Attribute) else []
        if path[:1] == [name] and (full := ".".join([module.__name__, *path[1:]])) in sys.modules:
            imports.add(f"import {full}" if name == module.__name__.partition(".")[0] else "")
    return imports - {""}


def _is_plain(value: Any) -> bool:
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError, TypeError):
        return False
