"""Rewrites the uses of old names, and reports those that it cannot rewrite."""

from __future__ import annotations

import re
from collections.abc import Callable

import libcst as cst

from azinfer.migrate import constructors, dictionaries, dumps, litellm_calls, methods, model_objects
from azinfer.migrate.context import Context
from azinfer.migrate.imports import ImportEditor, with_further
from azinfer.migrate.mocks import report_mocks
from azinfer.migrate.notes import add_notes
from azinfer.migrate.program import Program, dotted_name
from azinfer.migrate.quotes import with_other_quotes
from azinfer.migrate.report import Migration
from azinfer.migrate.rules import AZURE_ERRORS, CLASSES, NAMES, ROOTS, TEXTS
from azinfer.migrate.unused_imports import unused_imports, without_unused

_KEY = "azure.core.credentials.AzureKeyCredential"
_STREAMS = ("openai.Stream", "openai.AsyncStream")
# Other packages of Azure, whose names are not reported.
_OTHER_AZURE = re.compile(r"azure\.(?!core|identity|ai\.inference)")
Handler = Callable[[Context, cst.Call, cst.Call], "cst.BaseExpression | None"]
_HANDLERS: tuple[Handler, ...] = (
    model_objects.build_model,
    litellm_calls.call_litellm,
    dumps.dump_answer,
    methods.call_method,
    constructors.construct,
    dictionaries.rename_call,
)


def migrate_source(text: str) -> Migration:
    r"""Return a program rewritten for azinfer, and the lines to change by hand.

    Args:
        text: The program, on any mix of the packages that `azinfer.migrate` knows.

    Raises:
        SyntaxError: It is not valid Python.

    Example:
        >>> from azinfer.migrate import migrate_source
        >>> program = "from openai import AzureOpenAI\nclient = AzureOpenAI(api_key='k')\n"
        >>> print(migrate_source(program).after, end="")
        from azinfer.core import InferenceClient
        client = InferenceClient(credential='k')
    """
    try:
        program = Program(text)
    except cst.ParserSyntaxError as error:
        raise SyntaxError(
            f"not valid Python: {error.message}", ("", error.raw_line, 0, "")
        ) from None
    references = _References(program)
    program.module.visit(references)
    context, module = _rewrite(program, references)
    if any(_is_litellm_call(context, *each) for each in references.names.items()):
        context, module = _rewrite(program, references, keeps_litellm=True)
    kept: set[str] = set()
    done: set[str] = set()
    for node, origins in references.names.items():
        (done if id(node) in context.handled else kept).update(origins)
    for node in references.unknown(context):
        context.report(node, f"{program.origins(node)[0]} has no equal in azinfer")
    for each in references.stars:
        context.report(each, "import * hides what is used; write the names")
    module = cst.ensure_type(module.visit(ImportEditor(context.needed, kept, done)), cst.Module)
    module = with_further(module, context.further)
    if context.handled and not context.foreign:
        module = without_unused(module, _is_retired)
        for alias in unused_imports(program.module, _is_retired):
            name = dotted_name(alias.name)
            context.note(alias, f"{name} is not used here; files that import it from here lose it")
    report_mocks(context)
    add_notes(context, references.names)
    problems, notes = sorted(context.problems), sorted(context.notes)
    return Migration(text, module.code, tuple(problems), tuple(notes))


def _rewrite(
    program: Program, references: _References, *, keeps_litellm: bool = False
) -> tuple[Context, cst.Module]:
    """Rewrite everything but imports."""
    context = Context(program)
    context.keeps_litellm = keeps_litellm
    dictionaries.plan_renames(context)
    rewriter = _Rewriter(context, references.names, references.has_other_azure)
    return context, cst.ensure_type(program.module.visit(rewriter), cst.Module)


def _is_litellm_call(context: Context, node: cst.CSTNode, origins: list[str]) -> bool:
    """Return whether a reference to litellm stays and is not one of its settings."""
    settings = {f"litellm.{each}" for each in litellm_calls.SETTINGS} | litellm_calls.VALUES.keys()
    return (
        id(node) not in context.handled
        and any(each.startswith("litellm.") for each in origins)
        and not settings & set(origins)
        and not NAMES.keys() & set(origins)
    )


class _References(cst.CSTVisitor):
    """Uses of names of the old packages.

    Attributes:
        names: Each use, outermost first, and its possible origins.
        stars: Imports of everything from an old package.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self.names: dict[cst.CSTNode, list[str]] = {}
        self.stars: list[cst.ImportFrom] = []
        self.has_other_azure = False

    def visit_Import(self, node: cst.Import) -> bool:
        self.has_other_azure |= any(
            _OTHER_AZURE.match(dotted_name(each.name)) for each in node.names
        )
        return False

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        module = dotted_name(node.module) if node.module is not None else ""
        self.has_other_azure |= bool(_OTHER_AZURE.match(module + "."))
        if isinstance(node.names, cst.ImportStar) and _is_old(module):
            self.stars.append(node)
        return False

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        return not self._note(node)

    def visit_Name(self, node: cst.Name) -> None:
        self._note(node)

    def _note(self, node: cst.Name | cst.Attribute) -> bool:
        origins = [each for each in self._program.origins(node) if _is_old(each)]
        if origins:
            self.names[node] = origins
        return bool(origins)

    def unknown(self, context: Context) -> list[cst.CSTNode]:
        """Return uses of retired packages that were not rewritten."""
        return [
            node
            for node, origins in self.names.items()
            if id(node) not in context.handled | context.known
            and any(each.startswith(ROOTS) for each in origins)
            and not context.foreign & set(origins)
        ]


class _Rewriter(cst.CSTTransformer):
    """Rewrites everything but imports."""

    def __init__(
        self,
        context: Context,
        references: dict[cst.CSTNode, list[str]],
        has_other_azure: bool,
    ) -> None:
        super().__init__()
        self._context = context
        self._references = references
        self._program = context.program
        self._errors = {} if has_other_azure else AZURE_ERRORS
        self._local_names = self._names_of_classes()
        self._has_azure_clients = False
        for node in references:
            self._note_foreign(node)

    def _names_of_classes(self) -> dict[str, tuple[str, str, str]]:
        """Return the local names of old classes, for type comments: origin, module, name."""
        values: dict[str, tuple[str, str, str]] = {}
        for node, origins in self._references.items():
            for origin in origins:
                if origin in CLASSES and isinstance(node, cst.Name):
                    rule = CLASSES[origin]
                    values[node.value] = (origin, rule.module, rule.name)
                elif origin in NAMES and isinstance(node, cst.Name):
                    values[node.value] = (origin, *NAMES[origin])
        return values

    def _note_foreign(self, node: cst.CSTNode) -> None:
        origin = self._program.origin(node, CLASSES)
        parent = self._program.parent(node)
        if not origin or not isinstance(parent, cst.Call) or parent.func is not node:
            return
        self._has_azure_clients |= self._context.kinds.is_for_azure(parent, origin)
        if not self._context.kinds.is_for_azure(parent, origin):
            self._context.foreign.add(origin)
            reason = "does not say that it calls Azure (no base_url= of Azure); it is left as it is"
            self._context.report(parent, f"{dotted_name(node)}() {reason}")

    def visit_Import(self, node: cst.Import) -> bool:
        return False

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        return False

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        if original_node not in self._references:
            return updated_node
        return self._rename(original_node) or updated_node

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        if original_node in self._references:
            return self._rename(original_node) or updated_node
        return methods.move_attribute(self._context, original_node, updated_node)

    def leave_Dict(self, original_node: cst.Dict, updated_node: cst.Dict) -> cst.Dict:
        return dictionaries.rename_items(self._context, original_node, updated_node)

    def leave_FormattedString(
        self, original_node: cst.FormattedString, updated_node: cst.FormattedString
    ) -> cst.FormattedString:
        return with_other_quotes(updated_node)

    def leave_Subscript(
        self, original_node: cst.Subscript, updated_node: cst.Subscript
    ) -> cst.BaseExpression:
        if self._program.origin(original_node.value, _STREAMS):
            return updated_node.value  # azinfer's streams have no type of chunks to name
        return methods.subscript(self._context, original_node, updated_node)

    def leave_Comparison(
        self, original_node: cst.Comparison, updated_node: cst.Comparison
    ) -> cst.BaseExpression:
        return methods.comparison(self._context, original_node, updated_node)

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        for handler in _HANDLERS:
            result = handler(self._context, original_node, updated_node)
            if result is not None:
                return result
        return updated_node

    def leave_Await(self, original_node: cst.Await, updated_node: cst.Await) -> cst.BaseExpression:
        call = original_node.expression
        if isinstance(call, cst.Call) and self._program.origin(call.func, model_objects.LOADERS):
            return updated_node.expression
        kind = self._context.kinds.of(call)
        if kind is not None and kind.name == "stream" and not kind.path:
            return updated_node.expression  # a stream opens when it is read
        return updated_node

    def leave_Comment(self, original_node: cst.Comment, updated_node: cst.Comment) -> cst.Comment:
        if not re.match(r"#\s*type:\s*(?!ignore)", updated_node.value):
            return updated_node
        return updated_node.with_changes(value=self._in_words(updated_node.value))

    def leave_SimpleString(
        self, original_node: cst.SimpleString, updated_node: cst.SimpleString
    ) -> cst.SimpleString:
        above = self._program.parent(original_node)
        while above is not None and not isinstance(above, cst.Annotation | cst.BaseStatement):
            above = self._program.parent(above)
        if not isinstance(above, cst.Annotation):
            return updated_node
        return updated_node.with_changes(value=self._in_words(updated_node.value))

    def leave_AssignTarget(
        self, original_node: cst.AssignTarget, updated_node: cst.AssignTarget
    ) -> cst.AssignTarget:
        # `Client = None`, where the import may fail.
        if isinstance(updated_node.target, cst.Name):
            name = self._in_words(updated_node.target.value)
            return updated_node.with_changes(target=cst.Name(name))
        return updated_node

    def leave_Assign(
        self, original_node: cst.Assign, updated_node: cst.Assign
    ) -> cst.Assign | cst.RemovalSentinel:
        target = original_node.targets[0].target
        is_setting = isinstance(target, cst.Attribute) and self._is_setting(target)
        if not is_setting or not self._has_azure_calls:
            return updated_node
        if self._context.keeps_litellm:
            self._context.known.add(id(target))
            return updated_node
        self._context.handled.add(id(target))
        return cst.RemoveFromParent()

    def _is_setting(self, target: cst.Attribute) -> bool:
        """Return whether a target is a setting of litellm that azinfer's clients do not need."""
        names = [f"litellm.{each}" for each in litellm_calls.SETTINGS]
        if self._program.origin(target, names):
            return True
        new = litellm_calls.VALUES.get(self._program.origin(target, litellm_calls.VALUES))
        return new in litellm_calls.settings_of(self._context)

    @property
    def _has_azure_calls(self) -> bool:
        return bool(re.search(r"azure(_ai)?/", self._program.module.code))

    def _in_words(self, text: str) -> str:
        """Return a text in which new names of classes replace the old ones."""

        def new(match: re.Match[str]) -> str:
            origin, module, name = self._local_names[match[0]]
            if origin in self._context.foreign:
                return match[0]
            return self._context.use(origin, module, name).value

        if not self._local_names:
            return text
        return re.sub(rf"(?<![\w.])({'|'.join(self._local_names)})(?!\w)", new, text)

    def _rename(self, node: cst.Name | cst.Attribute) -> cst.BaseExpression | None:
        origins = self._references[node]
        if self._is_left_alone(node, origins) or self._is_error_of_others(node, origins):
            return None
        for origin in origins:
            if origin in TEXTS:
                self._context.handled.add(id(node))
                return cst.SimpleString(f'"{TEXTS[origin]}"')
            new = self._new_name(origin)
            if new is not None:
                self._context.handled.add(id(node))
                return self._context.use(origin, *new)
        return self._rename_base(node)

    def _rename_base(self, node: cst.Name | cst.Attribute) -> cst.BaseExpression | None:
        """Return `New.x` for `Old.x`, an attribute of a class that has a new name."""
        if not isinstance(node, cst.Attribute):
            return None
        for origin in self._references[node]:
            head, _, attribute = origin.rpartition(".")
            new = self._new_name(head)
            if new is not None and attribute != "load":
                self._context.handled.add(id(node))
                return cst.Attribute(self._context.use(head, *new), cst.Name(attribute))
        return None

    def _new_name(self, origin: str) -> tuple[str, str] | None:
        if origin in CLASSES:
            return CLASSES[origin].module, CLASSES[origin].name
        return NAMES.get(origin) or self._errors.get(origin)

    def _is_error_of_others(self, node: cst.CSTNode, origins: list[str]) -> bool:
        """Return whether a name is an error of clients that stay; report it if others do not."""
        errors = [each for each in origins if each.startswith("openai.") and each in NAMES]
        if not errors or not self._context.foreign:
            return False
        self._context.known.add(id(node))
        if self._has_azure_clients:
            name = NAMES[errors[0]][1]
            text = f"{errors[0]} stays for the clients that stay; catch azinfer.core.{name} too"
            self._context.report(node, text)
        return True

    def _is_left_alone(self, node: cst.CSTNode, origins: list[str]) -> bool:
        """Return whether a class stays: OpenAI's own, if some of its clients are not Azure's."""
        if not self._context.foreign & set(origins):
            return False
        parent = self._program.parent(node)
        if not isinstance(parent, cst.Call) or parent.func is not node:
            return True
        origin = self._program.origin(node, CLASSES)
        return not self._context.kinds.is_for_azure(parent, origin)


def _is_retired(name: str) -> bool:
    """Return whether a dotted name is an old one whose import is not needed without a use."""
    return _is_old(name) and name not in AZURE_ERRORS


def _is_old(name: str) -> bool:
    """Return whether a dotted name is an old one that this package knows."""
    known = name in CLASSES or name in NAMES or name in TEXTS or name in AZURE_ERRORS
    return (
        known or name == _KEY or any(name == each or name.startswith(f"{each}.") for each in ROOTS)
    )
