"""Imports of old packages that a rewritten program does not use: they are removed."""

from __future__ import annotations

import re
from collections.abc import Callable

import libcst as cst

from azinfer.migrate.program import dotted_name, short_name


def without_unused(module: cst.Module, is_old: Callable[[str], bool]) -> cst.Module:
    """Return a module without the imports of old names that nothing in it uses.

    Args:
        module: The rewritten program.
        is_old: Returns whether a dotted name belongs to an old package.
    """
    words = _Words()
    module.visit(words)
    return cst.ensure_type(module.visit(_Remover(words.words, is_old)), cst.Module)


def unused_imports(module: cst.Module, is_old: Callable[[str], bool]) -> list[cst.ImportAlias]:
    """Return the imports of old names that a program does not use; others may import them from it.

    Args:
        module: The program.
        is_old: Returns whether a dotted name belongs to an old package.
    """
    words = _Words()
    module.visit(words)
    finder = _Finder(words.words, is_old)
    module.visit(finder)
    return finder.aliases


class _Finder(cst.CSTVisitor):
    """Finds `from old import name` of names that are not used."""

    def __init__(self, words: set[str], is_old: Callable[[str], bool]) -> None:
        super().__init__()
        self._words, self._is_old = words, is_old
        self.aliases: list[cst.ImportAlias] = []

    def visit_ImportFrom(self, node: cst.ImportFrom) -> None:
        if isinstance(node.names, cst.ImportStar) or node.module is None or node.relative:
            return
        module = dotted_name(node.module) + "."
        for alias in node.names:
            name = dotted_name(alias.name)
            local = name if alias.asname is None else dotted_name(alias.asname.name)
            if local not in self._words and self._is_old(short_name(module + name)):
                self.aliases.append(alias)


class _Words(cst.CSTVisitor):
    """Every word that may be a use of an imported name, in code, texts and type comments."""

    def __init__(self) -> None:
        self.words: set[str] = set()

    def visit_Import(self, node: cst.Import) -> bool:
        return False

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        return False

    def visit_Name(self, node: cst.Name) -> None:
        self.words.add(node.value)

    def visit_Annotation(self, node: cst.Annotation) -> None:
        self.words |= set(re.findall(r"\w+", cst.Module([]).code_for_node(node.annotation)))

    def visit_SimpleString(self, node: cst.SimpleString) -> None:
        # A name in `__all__`, in `getattr` or in the target of a patch.
        value = node.evaluated_value
        if isinstance(value, str) and re.fullmatch(r"\w+(\.\w+)*", value):
            self.words.add(value.partition(".")[0])

    def visit_Comment(self, node: cst.Comment) -> None:
        if re.match(r"#\s*type:|#\s*noqa", node.value):
            self.words |= set(re.findall(r"\w+", node.value))


class _Remover(cst.CSTTransformer):
    def __init__(self, words: set[str], is_old: Callable[[str], bool]) -> None:
        super().__init__()
        self._words = words
        self._is_old = is_old
        self._tries = 0

    def visit_Try(self, node: cst.Try) -> None:
        self._tries += 1  # whether the import succeeds may decide what happens

    def leave_Try(self, original_node: cst.Try, updated_node: cst.Try) -> cst.Try:
        self._tries -= 1
        return updated_node

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine | cst.RemovalSentinel:
        [first, *others] = updated_node.body
        if others or self._tries or "noqa" in cst.Module([]).code_for_node(updated_node):
            return updated_node
        if isinstance(first, cst.Import):
            names, module = first.names, ""
        elif (
            isinstance(first, cst.ImportFrom)
            and not isinstance(first.names, cst.ImportStar)
            and first.module is not None
            and not first.relative
        ):
            names, module = first.names, dotted_name(first.module) + "."
        else:
            return updated_node
        kept = [each for each in names if not self._is_unused(each, module)]
        if len(kept) == len(names):
            return updated_node
        if not kept:
            return cst.RemoveFromParent()
        kept[-1] = kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
        return updated_node.with_changes(body=[first.with_changes(names=kept)])

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        if updated_node.body:
            return updated_node
        return updated_node.with_changes(body=[cst.SimpleStatementLine([cst.Pass()])])

    def _is_unused(self, alias: cst.ImportAlias, module: str) -> bool:
        name = dotted_name(alias.name)
        local = name.partition(".")[0]
        if alias.asname is not None:
            local = dotted_name(alias.asname.name)
            if local == name:  # `import x as x` says that it is meant for others
                return False
        return local not in self._words and self._is_old(short_name(module + name))
