"""The error of a content filter, in a module of its own because of what it imports."""

from __future__ import annotations

from semantic_kernel.connectors.ai.open_ai.exceptions import content_filter_ai_exception as theirs

from azinfer import core as ours


class ContentFilteredError(ours.ContentFilterError, theirs.ContentFilterAIException):
    """A content filter refused the prompt; `content_filter_result` says why by category."""

    # Semantic Kernel's is a dataclass, without a message, and not hashable.
    __hash__ = Exception.__hash__
    __eq__ = object.__eq__
    __repr__ = Exception.__repr__

    content_filter_code = theirs.ContentFilterCodes.RESPONSIBLE_AI_POLICY_VIOLATION

    @property
    def content_filter_result(self) -> dict[str, theirs.ContentFilterResult]:  # type: ignore[override]
        """The results of the filter, by category."""
        return {name: _result(severity) for name, severity in self.categories.items()}


def _result(severity: str) -> theirs.ContentFilterResult:
    """Return a category's result for a severity, or for `"detected"`."""
    kind = theirs.ContentFilterResultSeverity
    known = severity in [each.value for each in kind]
    return theirs.ContentFilterResult(
        filtered=True, detected=not known, severity=kind(severity) if known else kind.SAFE
    )
