"""The context of rewriting one program: its kinds, its problems, and the imports it needs."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from azinfer.migrate.kinds import Kinds
from azinfer.migrate.program import Program
from azinfer.migrate.report import Problem

Args = list[cst.Arg]


class Context:
    """The state of one migration.

    Args:
        program: The program.

    Attributes:
        kinds: The kinds of its expressions.
        problems: The parts that could not be rewritten.
        needed: The new names, as module and name, that replace each old one.
        further: Modules and names of the standard library that the new program needs.
        handled: References to old names that were rewritten, by their nodes.
        known: References that stay, because this was reported or because they are not Azure's.
        foreign: Old classes that stay, because some of their objects do not call Azure.
        notes: Parts that were rewritten but may show something else than before.
        renamed: The new names of items of dictionaries that are arguments, by their nodes.
        keeps_litellm: Whether calls of litellm stay, which need its settings.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.kinds = Kinds(program)
        self.problems: set[Problem] = set()
        self.needed: dict[str, set[tuple[str, str]]] = {}
        self.further: set[tuple[str, str]] = set()
        self.handled: set[int] = set()
        self.known: set[int] = set()
        self.foreign: set[str] = set()
        self.keeps_litellm = False
        self.notes: set[Problem] = set()
        self.renamed: dict[int, set[str]] = {}

    def report(self, node: cst.CSTNode, text: str) -> None:
        """Record a part that cannot be rewritten, with its line."""
        self.problems.add(Problem(self.program.line(node), text))

    def note(self, node: cst.CSTNode, text: str) -> None:
        """Record a part that needs no change but may show something else than before."""
        self.notes.add(Problem(self.program.line(node), text))

    def use(self, origin: str, module: str, name: str) -> cst.Name:
        """Return a new name that replaces an old one, and record its import."""
        self.needed.setdefault(origin, set()).add((module, name))
        return cst.Name(name)


def keyword_of(arg: cst.Arg) -> str:
    """Return the name of a keyword argument; empty for any other."""
    return arg.keyword.value if arg.keyword is not None else ""


def keyword_arg(name: str, value: cst.BaseExpression) -> cst.Arg:
    """Return a new keyword argument."""
    tight = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))
    return cst.Arg(value, cst.Name(name), equal=tight)


def rename_arg(arg: cst.Arg, name: str) -> cst.Arg:
    """Return a keyword argument under another name."""
    return arg.with_changes(keyword=cst.Name(name))


def with_args(call: cst.Call, args: Sequence[cst.Arg]) -> cst.Call:
    """Return a call with other arguments, in the layout of the old ones."""
    values = list(args)
    if not values:
        return call.with_changes(args=[], whitespace_before_args=cst.SimpleWhitespace(""))
    old = list(call.args)
    between: cst.Comma | cst.MaybeSentinel = (
        old[0].comma if len(old) > 1 else cst.MaybeSentinel.DEFAULT
    )
    end: cst.BaseParenthesizableWhitespace = cst.SimpleWhitespace("")
    last_comma: cst.Comma | cst.MaybeSentinel = cst.MaybeSentinel.DEFAULT
    if old:
        last_comma, end = old[-1].comma, old[-1].whitespace_after_arg
    values = [each.with_changes(comma=between) for each in values[:-1]] + [values[-1]]
    values[-1] = values[-1].with_changes(comma=last_comma, whitespace_after_arg=end)
    return call.with_changes(args=values)


def text(value: str) -> cst.SimpleString:
    """Return a string literal."""
    return cst.SimpleString(f'"{value}"')


def expand(arg: cst.Arg) -> Args:
    """Return `**value` for an argument with a dictionary, or its items as arguments."""
    value = arg.value
    if isinstance(value, cst.Dict) and all(map(_is_plain_item, value.elements)):
        return [
            keyword_arg(str(each.key.evaluated_value), each.value)
            for each in value.elements
            if isinstance(each, cst.DictElement) and isinstance(each.key, cst.SimpleString)
        ]
    return [cst.Arg(value, star="**")]


def _is_plain_item(item: cst.BaseDictElement) -> bool:
    if not isinstance(item, cst.DictElement) or not isinstance(item.key, cst.SimpleString):
        return False
    name = str(item.key.evaluated_value)
    return name.isidentifier()
