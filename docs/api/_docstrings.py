"""What the pages of the API show: the names that a package's `__init__.py` offers, and their docstrings.

A name is public where it is imported under itself, `from … import X as X`, as everywhere in this library. Docstrings
are Markdown but for two habits: their lists begin right below a line of text, where Markdown wants an empty one, and
the shape of an array may stand before the number of an equation, [modes] [(27)], which Markdown takes for a link.
"""

import ast
import re
from collections.abc import Iterator
from typing import Any

import griffe

BEGINS_A_LIST = re.compile(r"^(?P<before>(?![ ]*- )[^\n]*\S[^\n]*\n)(?=- )", re.MULTILINE)
LOOKS_LIKE_A_LINK = re.compile(r"\](?= ?\[)")


class Docstrings(griffe.Extension):
    """Entered in `mkdocs.yml`."""

    def on_alias_instance(self, *, alias: griffe.Alias, node: Any, **rest: Any) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):
            alias.public = any(name.asname == name.name == alias.name for name in node.names)

    def on_object(self, *, obj: griffe.Object, **rest: Any) -> None:
        if obj.docstring:
            obj.docstring.value = markdown(obj.docstring.value)

    def on_package(self, *, pkg: griffe.Module, **rest: Any) -> None:
        """Modules of Equinox without an `__init__` get the one that they are given at run time."""
        without = lambda cls: not any("__init__" in base.members for base in [cls, *cls.mro()])
        # all are found before the first gets one: what inherits from it would seem to have one
        for cls in [cls for cls in _classes(pkg) if _is_module(cls) and without(cls)]:
            this = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
            if fields := _fields(cls):
                parameters = griffe.Parameters(this, *fields.values())
                cls.set_member("__init__", griffe.Function("__init__", parameters=parameters))


def markdown(docstring: str) -> str:
    """The docstring with an empty line before each list, and no links."""
    lines = BEGINS_A_LIST.sub(lambda match: match["before"] + "\n", docstring).split("\n")
    return "\n".join(line if line.startswith("    ") else _without_links(line) for line in lines)


def _without_links(line: str) -> str:
    parts = line.split("`")
    parts[::2] = [LOOKS_LIKE_A_LINK.sub(r"\\]", text) for text in parts[::2]]
    return "`".join(parts)


# --- what an Equinox module is made with ------------------------------------------------------------------------------


def _classes(package: griffe.Module | griffe.Class) -> Iterator[griffe.Class]:
    for member in package.members.values():
        if isinstance(member, griffe.Class):
            yield member
        if isinstance(member, griffe.Module):
            yield from _classes(member)


def _is_module(cls: griffe.Class) -> bool:
    bases = [base for ancestor in [cls, *cls.mro()] for base in ancestor.bases]
    return any(getattr(base, "canonical_path", "") == "equinox.Module" for base in bases)


def _fields(cls: griffe.Class) -> dict[str, griffe.Parameter]:
    """The arguments of a module without an `__init__` of its own: its fields, those of its bases first."""
    found = {}
    for base in reversed([cls, *cls.mro()]):
        for name, member in base.members.items():
            if isinstance(member, griffe.Attribute) and _is_field(member):
                kind = griffe.ParameterKind.positional_or_keyword
                found[name] = griffe.Parameter(name, annotation=member.annotation, kind=kind, default=_default(member))
    return found


def _is_field(attribute: griffe.Attribute) -> bool:
    """Annotated, and neither a property nor something of the class: ClassVar, AbstractVar, AbstractClassVar."""
    of_the_instance = "instance-attribute" in attribute.labels and "property" not in attribute.labels
    return of_the_instance and not re.search(r"Abstract(Class)?Var\[|^None$", str(attribute.annotation))


def _default(attribute: griffe.Attribute) -> Any:
    """The value that the class gives, or the `default` of its `eqx.field`."""
    if not isinstance(attribute.value, griffe.ExprCall):
        return attribute.value
    keywords = (part for part in attribute.value.arguments if isinstance(part, griffe.ExprKeyword))
    return next((keyword.value for keyword in keywords if keyword.name == "default"), None)
