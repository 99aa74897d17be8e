"""Quotes of strings inside f-strings: before Python 3.12 they differ from those of the f-string."""

from __future__ import annotations

import libcst as cst


def with_other_quotes(node: cst.FormattedString) -> cst.FormattedString:
    """Return an f-string whose inner strings do not use its own quotes."""
    if node.end != '"':  # new strings are written with this quote
        return node
    parts = [
        cst.ensure_type(part.visit(_Quotes()), type(part))
        if isinstance(part, cst.FormattedStringExpression)
        else part
        for part in node.parts
    ]
    return node.with_changes(parts=parts)


class _Quotes(cst.CSTTransformer):
    def leave_SimpleString(
        self, original_node: cst.SimpleString, updated_node: cst.SimpleString
    ) -> cst.SimpleString:
        value = updated_node.value
        if value.endswith('"') and value.count('"') == 2 and "'" not in value:
            return updated_node.with_changes(value=value.replace('"', "'"))
        return updated_node
