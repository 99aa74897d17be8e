"""How pydantic validates and writes the values of core that it cannot read by itself.

pydantic calls `__get_pydantic_core_schema__` of a class. This module is loaded by such a call only,
since core does not need pydantic.

Source: "Customizing validation with __get_pydantic_core_schema__" of pydantic's documentation.
"""

from __future__ import annotations

import inspect
from array import array
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema


def schema_of_fields(cls: type, handler: GetCoreSchemaHandler) -> CoreSchema:
    """Return the schema of a class whose values have the arguments of its constructor.

    An instance is valid as it is. A mapping, or an object in JSON, becomes an instance; names that
    the class does not have are ignored. Private fields are neither read nor written.

    Args:
        cls: The class: a dataclass or a struct of msgspec.
        handler: pydantic's, which knows the schemas of other types.
    """
    hints = get_type_hints(cls, include_extras=True)
    fields = {
        name: core_schema.typed_dict_field(
            handler.generate_schema(hints[name]), required=parameter.default is parameter.empty
        )
        for name, parameter in inspect.signature(cls).parameters.items()
        if not name.startswith("_")
    }

    def validate(value: Any, inner: Callable[[Any], Mapping[str, Any]]) -> Any:
        return value if isinstance(value, cls) else cls(**inner(value))

    def write(value: Any, inner: Callable[[Any], Any]) -> Any:
        return inner({name: getattr(value, name) for name in fields})

    return core_schema.no_info_wrap_validator_function(
        validate,
        core_schema.typed_dict_schema(fields, cls_name=cls.__name__, ref=_reference(cls)),
        serialization=core_schema.wrap_serializer_function_ser_schema(write),
    )


def schema_of_vectors() -> CoreSchema:
    """Return the schema of a vector, which is a list of numbers in JSON.

    A list of integers becomes a vector of integers of 8 bits, any other one a vector of floats of
    32 bits.
    """
    numbers = core_schema.list_schema(
        core_schema.union_schema([core_schema.int_schema(), core_schema.float_schema()])
    )

    def validate(value: Any, inner: Callable[[Any], list[float]]) -> Any:
        return value if isinstance(value, array) else _vector(inner(value))

    return core_schema.no_info_wrap_validator_function(
        validate, numbers, serialization=core_schema.plain_serializer_function_ser_schema(list)
    )


def _vector(numbers: list[float]) -> array[Any]:
    try:
        if numbers and all(isinstance(number, int) for number in numbers):
            return array("b" if min(numbers) < 0 else "B", numbers)
        return array("f", numbers)
    except OverflowError as error:
        raise ValueError(f"these are not numbers of a vector: {error}") from None


def _reference(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}:{id(cls)}"
