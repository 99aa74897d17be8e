"""Every Azure text model that litellm's map lists answers with tools and reasoning."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import reach

from azinfer.local import LocalEndpoint


@pytest.fixture(scope="module")
def map_models() -> list[reach.MapModel]:
    return reach.models()


@pytest.fixture(scope="module")
def resource(map_models: list[reach.MapModel]) -> Iterator[LocalEndpoint]:
    with reach.resource(map_models) as endpoint:
        yield endpoint


@pytest.mark.parametrize("way", reach.WAYS[1:])
def test_every_model_is_reached(
    resource: LocalEndpoint, map_models: list[reach.MapModel], way: reach.Way
) -> None:
    assert len(map_models) >= 156
    assert reach.find_unreached(resource, map_models, way) == {}


def test_chat_completions_alone_do_not_reach_them(
    resource: LocalEndpoint, map_models: list[reach.MapModel]
) -> None:
    assert len(reach.find_unreached(resource, map_models, "chat alone")) > 30
