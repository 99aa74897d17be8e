"""Objects of azure.ai.inference.models that have another form now: tools, images, audio."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import libcst as cst

from azinfer.migrate.context import Context, keyword_arg, keyword_of
from azinfer.migrate.rules import CORE

_MODELS = "azure.ai.inference.models"
Builder = Callable[[Context, cst.Call, cst.Call, str], "cst.BaseExpression | None"]


def build_model(
    context: Context, original: cst.Call, updated: cst.Call
) -> cst.BaseExpression | None:
    """Return the new form of an object; None if the call creates something else."""
    origin = context.program.origin(original.func, BUILDERS)
    if not origin:
        return None
    result = BUILDERS[origin](context, original, updated, origin)
    if result is not None:
        context.handled.add(id(original.func))
    return result


def _value(args: Sequence[cst.Arg], name: str, position: int) -> cst.BaseExpression | None:
    """Return an argument by its name or its position."""
    for at, arg in enumerate(args):
        if keyword_of(arg) == name or (at == position and arg.keyword is None and not arg.star):
            return arg.value
    return None


def _tool(
    context: Context, original: cst.Call, updated: cst.Call, origin: str
) -> cst.BaseExpression | None:
    """Return the `Tool(…)` of the function of `ChatCompletionsToolDefinition(function=…)`."""
    return _value(updated.args, "function", 0)


def _function(
    context: Context, original: cst.Call, updated: cst.Call, origin: str
) -> cst.BaseExpression | None:
    """Return a `Tool(…)` with the arguments of `FunctionDefinition(…)`."""
    return updated.with_changes(func=context.use(origin, CORE, "Tool"))


def _choice(
    context: Context, original: cst.Call, updated: cst.Call, origin: str
) -> cst.BaseExpression | None:
    """Return the tool's name for `ChatCompletionsNamedToolChoice(function=…)`."""
    return _value(updated.args, "function", 0)


def _choice_function(
    context: Context, original: cst.Call, updated: cst.Call, origin: str
) -> cst.BaseExpression | None:
    return _value(updated.args, "name", 0)


def _image_item(
    context: Context, original: cst.Call, updated: cst.Call, origin: str
) -> cst.BaseExpression | None:
    """Return the `ImagePart(…)` for `ImageContentItem(image_url=…)`: that of the inner call."""
    return _value(updated.args, "image_url", 0)


@dataclass(frozen=True, slots=True)
class _Part:
    """Builds `ImagePart(…)` or `AudioPart(…)` of an address or a file.

    Attributes:
        name: The new class.
        source: The argument with the address or the file.
        option: The argument that is passed on, its position and its new name; empty if none.
        is_file: Whether the source is the path of a file.
    """

    name: str
    source: str
    option: tuple[str, int, str] | None = None
    is_file: bool = False

    def __call__(
        self, context: Context, original: cst.Call, updated: cst.Call, origin: str
    ) -> cst.BaseExpression | None:
        source = _value(updated.args, self.source, 0)
        if source is None:
            return None
        args = [cst.Arg(_path(context, source) if self.is_file else source)]
        if self.option is not None:
            old, position, new = self.option
            value = _value(updated.args, old, position)
            args += [keyword_arg(new, value)] if value is not None else []
        return cst.Call(context.use(origin, CORE, self.name), args)


def _audio_item(
    context: Context, original: cst.Call, updated: cst.Call, origin: str
) -> cst.BaseExpression | None:
    return _value(updated.args, "input_audio", 0) or _value(updated.args, "audio_url", 0)


def _embedding_file(
    context: Context, original: cst.Call, updated: cst.Call, origin: str
) -> cst.BaseExpression | None:
    """Return a path for `ImageEmbeddingInput.load(image_file=…)`, or an input with its text."""
    file, words = _value(updated.args, "image_file", 0), _value(updated.args, "text", 2)
    if file is None:
        return None
    if words is None:
        return _path(context, file)
    args = [cst.Arg(_path(context, file)), keyword_arg("text", words)]
    return cst.Call(context.use(origin, CORE, "ImageInput"), args)


def _embedding_input(
    context: Context, original: cst.Call, updated: cst.Call, origin: str
) -> cst.BaseExpression | None:
    return updated.with_changes(func=context.use(origin, CORE, "ImageInput"))


def _path(context: Context, file: cst.BaseExpression) -> cst.Call:
    context.further.add(("pathlib", "Path"))
    return cst.Call(cst.Name("Path"), [cst.Arg(file)])


def _load_client(
    context: Context, original: cst.Call, updated: cst.Call, origin: str
) -> cst.BaseExpression | None:
    name = "AsyncInferenceClient" if ".aio." in origin else "InferenceClient"
    context.report(original, "load_client() asked the service what its model is for; check the use")
    return updated.with_changes(func=context.use(origin, CORE, name))


LOADERS = ("azure.ai.inference.load_client", "azure.ai.inference.aio.load_client")
BUILDERS: dict[str, Builder] = {
    f"{_MODELS}.ChatCompletionsToolDefinition": _tool,
    f"{_MODELS}.FunctionDefinition": _function,
    f"{_MODELS}.ChatCompletionsNamedToolChoice": _choice,
    f"{_MODELS}.ChatCompletionsNamedToolChoiceFunction": _choice_function,
    f"{_MODELS}.ImageContentItem": _image_item,
    f"{_MODELS}.ImageUrl": _Part("ImagePart", "url", ("detail", 1, "detail")),
    f"{_MODELS}.ImageUrl.load": _Part(
        "ImagePart", "image_file", ("detail", 2, "detail"), is_file=True
    ),
    f"{_MODELS}.AudioContentItem": _audio_item,
    f"{_MODELS}.AudioUrlContentItem": _audio_item,
    f"{_MODELS}.InputAudio.load": _Part(
        "AudioPart", "audio_file", ("audio_format", 1, "format"), is_file=True
    ),
    f"{_MODELS}.InputAudioUrl": _Part("AudioPart", "url"),
    f"{_MODELS}.ImageEmbeddingInput.load": _embedding_file,
    f"{_MODELS}.ImageEmbeddingInput": _embedding_input,
    **dict.fromkeys(LOADERS, _load_client),
}
