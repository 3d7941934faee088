"""The fleet file's text as data, and the line on which each value stands.

Lives here: YAML.

Scalars are read by the core schema of YAML 1.2, not by PyYAML's rules of 1.1: there an unquoted PCI bus id
`0000:03:00.0` is a number to the base of 60, and `on` is a truth value. One thing of 1.1 is kept, because people use
it: the merge key `<<` (yaml.org/type/merge.html).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from spoe_agent.fleet.problems import FleetError, Path, Problem, dotted, shown

_MAX_CHARS = 1024 * 1024
_MAX_VALUES = 20_000
"""Aliases can multiply values without end; a fleet of a thousand instances has about ten thousand."""
_TAG = "tag:yaml.org,2002:"
_SURROGATE = re.compile("[\ud800-\udfff]")


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own name; none of 1.1's rules


def _resolve_as(kind: str, pattern: str, first: str) -> None:
    """Give plain scalars of this pattern a type. PyYAML looks a rule up by first character; "" is no character."""
    characters = list(first) if kind != "null" else ["", *first]
    _Loader.add_implicit_resolver(_TAG + kind, re.compile(pattern), characters)


_resolve_as("null", r"^(?:~|null|Null|NULL|)$", "~nN")
_resolve_as("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF")
_resolve_as("int", r"^[-+]?[0-9]+$", "-+0123456789")
_resolve_as("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789")

_READ: dict[str, Callable[[str], Any]] = {
    _TAG + "null": lambda text: None,
    _TAG + "bool": lambda text: text.lower() == "true",
    _TAG + "int": int,
    _TAG + "float": float,
    _TAG + "str": str,
}
_MAPPING_TAGS = {_TAG + "map", _TAG + "seq"}


@dataclass(slots=True)
class Document:
    """A fleet file that was read: plain data, lines by path, and what was wrong already at this level."""

    file: str
    data: dict[str, Any] = field(default_factory=dict)
    lines: dict[Path, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unread: set[Path] = field(default_factory=set)
    """Where `data` has None because the value could not be read."""

    def known(self, path: Path) -> Path:
        """Return the longest part of the path that stands in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return path

    def line(self, path: Path) -> int:
        """Return the line of the value, or of what it would stand in."""
        return self.lines.get(self.known(path), 1)

    def add(self, path: Path, message: str, hint: str, line: int | None = None) -> None:
        """Note a problem at a path, on its line unless another is given."""
        self.problems.append(Problem(self.file, line or self.line(path), dotted(path), message, hint))


def read(text: str, file: str, section: str = "instances") -> Document:
    """Return the data of a file's text, with what is wrong in single values noted in `problems`.

    Args:
        text: of a fleet file, or another one that is written alike.
        file: what messages call it.
        section: the one that such a file has at least.

    Raises:
        FleetError: nothing can be made of the text: no YAML, empty, no mapping.
    """
    document = Document(file)
    root = _compose(text, file)
    if root is None or (isinstance(root, yaml.ScalarNode) and root.tag == _TAG + "null"):
        raise _hopeless(file, None, "is empty", f"write at least one entry under {section}")
    if not isinstance(root, yaml.MappingNode):
        raise _hopeless(file, _line(root), "is not a mapping of keys", f"begin with {section}:")
    try:
        document.data = _Walk(document).value(root, ())
    except RecursionError:
        raise _hopeless(file, None, "is nested too deeply", "") from None
    return document


def _hopeless(file: str, line: int | None, message: str, hint: str) -> FleetError:
    return FleetError([Problem(file, line, "", message, hint)])


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _compose(text: str, file: str) -> yaml.Node | None:
    if len(text) > _MAX_CHARS:
        raise _hopeless(file, None, f"is longer than {_MAX_CHARS} characters", "is it the file that you meant?")
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise _hopeless(file, line, f"not valid YAML: {what}", f"look at column {column}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        hint = "remove it, or write it as an escape in double quotes"
        raise _hopeless(file, line, f"not valid YAML: character U+{error.character:04X} is not allowed", hint) from None
    except RecursionError:
        raise _hopeless(file, None, "is nested too deeply", "") from None
    except (ValueError, OverflowError) as error:  # PyYAML lets chr() fail on "\UFFFFFFFF"
        raise _hopeless(file, None, f"not valid YAML: {error}", "look at the escapes in double quotes") from None


def _is_merge_key(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.value == "<<" and node.style is None


class _Walk:
    """Turns nodes into data; fills in the source's lines and problems as it goes."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._left = _MAX_VALUES
        self._open: list[yaml.Node] = []

    def value(self, node: yaml.Node, path: Path) -> Any:
        self._document.lines.setdefault(path, _line(node))
        self._spend()
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if any(node is outer for outer in self._open):
            return self._refuse(path, "contains itself", "write the value out instead of the alias (*name)")
        if node.tag not in _MAPPING_TAGS:
            return self._refuse(path, f"has the tag {shown(node.tag)}", "remove the tag")
        self._open.append(node)
        try:
            return self._mapping(node, path) if isinstance(node, yaml.MappingNode) else self._sequence(node, path)
        finally:
            self._open.pop()

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise _hopeless(
                self._document.file, None, f"has more than {_MAX_VALUES} values", "use fewer aliases (*name)"
            )

    def _refuse(self, path: Path, message: str, hint: str) -> None:
        self._document.add(path, message, hint)
        self._document.unread.add(path)

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        text = str(node.value)
        if _SURROGATE.search(text):
            return self._refuse(path, "has half a surrogate pair, which is no character", "write the character itself")
        make = _READ.get(node.tag)
        if make is None:
            return self._refuse(path, f"has the tag {shown(node.tag)}", "remove the tag")
        try:
            return make(text)
        except ValueError:
            return self._refuse(path, f"{shown(text)} does not fit its tag", "remove the tag")

    def _sequence(self, node: yaml.Node, path: Path) -> list[Any]:
        return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in self._pairs(node, path):
            key = self._key(key_node, path)
            if key is None:
                continue
            here = (*path, key)
            if key in data:
                message = f"is here twice, first on line {self._document.line(here)}"
                self._document.add(here, message, "keep one of them", line=_line(key_node))
                continue
            self._document.lines[here] = _line(key_node)
            data[key] = self.value(value_node, here)
        return data

    def _pairs(self, node: yaml.MappingNode, path: Path) -> list[tuple[yaml.Node, yaml.Node]]:
        """Return a mapping's own keys, then those it has from others (`<<: *name`): who says a key first wins."""
        pairs = [(key, value) for key, value in node.value if not _is_merge_key(key)]
        for other in self._merged(node, path):
            known = {str(key.value) for key, _ in pairs}
            pairs += [pair for pair in self._pairs(other, path) if str(pair[0].value) not in known]
        return pairs

    def _merged(self, node: yaml.MappingNode, path: Path) -> Iterator[yaml.MappingNode]:
        said = [value for key, value in node.value if _is_merge_key(key)]
        others = [one for value in said for one in (value.value if isinstance(value, yaml.SequenceNode) else [value])]
        for other in others:
            self._spend()
            if isinstance(other, yaml.MappingNode) and all(other is not outer for outer in self._open):
                self._open.append(other)
                yield other
                self._open.pop()
            else:
                wrong = "contains itself" if isinstance(other, yaml.MappingNode) else "is no mapping"
                self._document.add((*path, "<<"), wrong, "write the alias of another mapping (*name)", _line(other))

    def _key(self, node: yaml.Node, path: Path) -> str | None:
        if isinstance(node, yaml.ScalarNode) and not _SURROGATE.search(node.value):
            return str(node.value)
        self._document.add(path, "has a key that is not a word", "write key: value", line=_line(node))
        return None
