"""Imports: new names replace the old ones, and no name is imported twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import libcst as cst

from azinfer.migrate.program import dotted_name, short_name

Names = Mapping[str, set[tuple[str, str]]]


class ImportEditor(cst.CSTTransformer):
    """Rewrites import statements after the uses of their names were rewritten.

    Args:
        needed: The new names, as module and name, that replace each old one.
        kept: Old names, by their dotted origin, that are still used.
        handled: Old names that were rewritten.
    """

    def __init__(self, needed: Names, kept: set[str], handled: set[str]) -> None:
        super().__init__()
        self._needed = needed
        self._kept = kept
        self._handled = handled

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> (
        cst.SimpleStatementLine | cst.FlattenSentinel[cst.SimpleStatementLine] | cst.RemovalSentinel
    ):
        if len(updated_node.body) != 1:
            return updated_node
        [statement] = updated_node.body
        kept: cst.ImportFrom | cst.Import | None
        if isinstance(statement, cst.ImportFrom):
            kept, new = self._from(statement)
        elif isinstance(statement, cst.Import):
            kept, new = self._plain(statement)
        else:
            return updated_node
        if kept is statement and not new:
            return updated_node
        lines = [_import_line(module, names) for module, names in sorted(_by_module(new).items())]
        if kept is not None:
            lines.insert(0, updated_node.with_changes(body=[kept]))
        if not lines:
            return cst.RemoveFromParent()
        lines[0] = lines[0].with_changes(leading_lines=updated_node.leading_lines)
        return cst.FlattenSentinel(lines)

    def _from(
        self, statement: cst.ImportFrom
    ) -> tuple[cst.ImportFrom | None, set[tuple[str, str]]]:
        module = dotted_name(statement.module) if statement.module is not None else ""
        if statement.relative or isinstance(statement.names, cst.ImportStar):
            return statement, set()
        kept: list[cst.ImportAlias] = []
        new: set[tuple[str, str]] = set()
        for alias in statement.names:
            origin = short_name(f"{module}.{dotted_name(alias.name)}")
            names = self._names_below(origin)
            new |= names
            if self._is_used(origin) or not (names or self._was_handled(origin)):
                kept.append(alias)
        if len(kept) == len(statement.names):
            return statement, new
        if not kept:
            return None, new
        kept[-1] = kept[-1].with_changes(comma=statement.names[-1].comma)
        return statement.with_changes(names=kept), new

    def _plain(self, statement: cst.Import) -> tuple[cst.Import | None, set[tuple[str, str]]]:
        kept: list[cst.ImportAlias] = []
        new: set[tuple[str, str]] = set()
        for alias in statement.names:
            origin = dotted_name(alias.name)
            names = self._names_below(origin)
            new |= names
            if self._is_used(origin) or not (names or self._was_handled(origin)):
                kept.append(alias)
        if len(kept) == len(statement.names):
            return statement, new
        if not kept:
            return None, new
        kept[-1] = kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
        return statement.with_changes(names=kept), new

    def _names_below(self, origin: str) -> set[tuple[str, str]]:
        values: set[tuple[str, str]] = set()
        for old, names in self._needed.items():
            if _is_below(old, origin):
                values |= names
        return values

    def _is_used(self, origin: str) -> bool:
        return any(_is_below(each, origin) for each in self._kept)

    def _was_handled(self, origin: str) -> bool:
        return any(_is_below(each, origin) for each in self._handled)

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        body = list(_without_repeats(updated_node.body))
        if not body:
            body = [cst.SimpleStatementLine([cst.Pass()])]
        return updated_node.with_changes(body=body)

    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:
        return updated_node.with_changes(body=list(_without_repeats(updated_node.body)))


def _is_below(name: str, origin: str) -> bool:
    return name == origin or name.startswith(f"{origin}.")


def _by_module(names: set[tuple[str, str]]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for module, name in sorted(names):
        values.setdefault(module, []).append(name)
    return values


def _import_line(module: str, names: Sequence[str]) -> cst.SimpleStatementLine:
    line = f"from {module} import {', '.join(names)}" if module else f"import {', '.join(names)}"
    return cst.ensure_type(cst.parse_statement(line), cst.SimpleStatementLine)


def _without_repeats(
    body: Sequence[cst.BaseStatement],
) -> list[cst.BaseStatement]:
    """Return a block in which no `from azinfer… import` repeats, with one line for each module."""
    names: dict[str, list[str]] = {}
    first: dict[str, int] = {}
    kept: list[cst.BaseStatement] = []
    for line in body:
        module = _our_module(line)
        if module is None:
            kept.append(line)
            continue
        known = names.setdefault(module, [])
        known += [each for each in _names_of(line) if each not in known]
        if module not in first:
            first[module] = len(kept)
            kept.append(line)
    for module, position in first.items():
        old = cst.ensure_type(kept[position], cst.SimpleStatementLine)
        new = _import_line(module, sorted(names[module]))
        if set(_names_of(old)) != set(names[module]):
            kept[position] = new.with_changes(leading_lines=old.leading_lines)
    return kept


def _our_module(line: cst.BaseStatement) -> str | None:
    if not isinstance(line, cst.SimpleStatementLine) or len(line.body) != 1:
        return None
    [statement] = line.body
    if not isinstance(statement, cst.ImportFrom) or isinstance(statement.names, cst.ImportStar):
        return None
    module = dotted_name(statement.module) if statement.module is not None else ""
    is_plain = all(alias.asname is None for alias in statement.names)
    return module if module.startswith("azinfer.") and is_plain else None


def _names_of(line: cst.BaseStatement) -> list[str]:
    [statement] = cst.ensure_type(line, cst.SimpleStatementLine).body
    names = cst.ensure_type(statement, cst.ImportFrom).names
    return [] if isinstance(names, cst.ImportStar) else [dotted_name(each.name) for each in names]


def with_further(module: cst.Module, further: set[tuple[str, str]]) -> cst.Module:
    """Return a module with the imports that it needs from the standard library."""
    code = module.code
    missing = {
        (where, name)
        for where, name in further
        if (f"from {where} import {name}" if where else f"import {name}") not in code
    }
    if not missing:
        return module
    lines = [_import_line(where, names) for where, names in sorted(_by_module(missing).items())]
    body = list(module.body)
    at = 0
    while at < len(body) and _is_head(body[at]):
        at += 1
    return module.with_changes(body=[*body[:at], *lines, *body[at:]])


def _is_head(line: cst.BaseStatement) -> bool:
    """Return whether a statement must stay at the top: a docstring or a __future__ import."""
    if not isinstance(line, cst.SimpleStatementLine):
        return False
    [first, *_] = line.body
    if isinstance(first, cst.Expr):
        return isinstance(first.value, cst.SimpleString | cst.ConcatenatedString)
    return (
        isinstance(first, cst.ImportFrom)
        and first.module is not None
        and dotted_name(first.module) == "__future__"
    )
