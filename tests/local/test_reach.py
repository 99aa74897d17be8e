"""Every Azure text model that litellm's map lists answers with tools and reasoning."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import reach

from azinfer.local import LocalEndpoint


@pytest.fixture(scope="module")
def listed() -> list[reach.MapModel]:
    return reach.models()


@pytest.fixture(scope="module")
def resource(listed: list[reach.MapModel]) -> Iterator[LocalEndpoint]:
    with reach.resource(listed) as endpoint:
        yield endpoint


@pytest.mark.parametrize("way", reach.WAYS[1:])
def test_every_model_is_reached(
    resource: LocalEndpoint, listed: list[reach.MapModel], way: reach.Way
) -> None:
    assert len(listed) >= 156
    assert reach.unreached(resource, listed, way) == {}


def test_chat_completions_alone_do_not_reach_them(
    resource: LocalEndpoint, listed: list[reach.MapModel]
) -> None:
    assert len(reach.unreached(resource, listed, "chat alone")) > 30
