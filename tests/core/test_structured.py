"""Schemas for strict output: every property is required, and nothing else changes."""

from __future__ import annotations

from typing import Any

import pydantic
from hypothesis import given
from hypothesis import strategies as st

from azinfer.core import strict_schema
from azinfer.core.messages import response_format_to_wire

Pair = tuple[Any, Any]
KEYWORDS = ["default", "title", "type", "properties", "required", "items", "enum", "$defs", "not"]
names = st.one_of(st.sampled_from(KEYWORDS), st.text(max_size=3))
values = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(names, inner, max_size=3)),
    max_leaves=5,
)


def leaf(value: Any, default: Any) -> Pair:
    schema = {"title": "a", "enum": [value], "const": value, "examples": [value], "x-own": value}
    return {**schema, "default": default}, schema


def object_pair(properties: dict[str, Pair], is_map: bool) -> Pair:
    results = {"type": "object", "properties": {name: each[0] for name, each in properties.items()}}
    wanted = {
        "type": "object",
        "properties": {name: each[1] for name, each in properties.items()},
        "additionalProperties": False,
        "required": list(properties),
    }
    if is_map:
        return (
            {"type": "object", "additionalProperties": results},
            {"type": "object", "additionalProperties": wanted},
        )
    return results, wanted


def inside(keyword: str, several: list[Pair]) -> Pair:
    if keyword in ("$defs", "definitions", "patternProperties"):
        return tuple(
            {keyword: {KEYWORDS[at]: each[side] for at, each in enumerate(several)}}
            for side in (0, 1)
        )  # type: ignore[return-value]
    if keyword in ("anyOf", "allOf", "oneOf", "prefixItems"):
        return ({keyword: [each[0] for each in several]}, {keyword: [each[1] for each in several]})
    return {keyword: several[0][0]}, {keyword: several[0][1]}


PLACES = ["$defs", "patternProperties", "anyOf", "oneOf", "prefixItems", "items", "not"]
schemas = st.recursive(
    st.builds(leaf, values, values),
    lambda inner: st.one_of(
        st.builds(object_pair, st.dictionaries(names, inner, max_size=3), st.booleans()),
        st.builds(inside, st.sampled_from(PLACES), st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=8,
)


@given(schemas)
def test_only_schemas_are_changed_at_every_depth(pair: Pair) -> None:
    schema, wanted = pair
    before = repr(schema)
    assert strict_schema(schema) == wanted
    assert strict_schema(wanted) == wanted
    assert repr(schema) == before


class Setting(pydantic.BaseModel):
    default: str = "a"
    title: int = 0
    enum: list[Setting] = []


def test_a_property_may_have_the_name_of_a_keyword() -> None:
    schema = response_format_to_wire(Setting)["json_schema"]["schema"]
    setting_schema = schema["$defs"]["Setting"]
    assert (
        list(setting_schema["properties"])
        == setting_schema["required"]
        == ["default", "title", "enum"]
    )
    assert setting_schema["properties"]["default"] == {"title": "Default", "type": "string"}


def test_a_bare_schema_stays_as_it_is() -> None:
    schema = {"items": True, "not": {"type": "null"}, "$defs": None, "properties": "odd"}
    assert strict_schema(schema) == schema
