"""Facts that one process has learned about endpoints, for the other processes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TypeAlias, get_args

from azinfer.core.endpoint_knowledge import EndpointKnowledge
from azinfer.core.routes.vector_lengths import VectorLengths
from azinfer.core.surfaces import WireName

_LENGTH = "vector length"
Places: TypeAlias = Mapping[str, tuple[str, EndpointKnowledge | None]]


def facts_of(places: Places, lengths: VectorLengths) -> dict[str, str]:
    """Return everything that was learned, as texts by their names.

    Args:
        places: The endpoints.
        lengths: The lengths of vectors.
    """
    facts = {}
    for url, knowledge in places.values():
        if knowledge is None:
            continue
        for (surface, deployment), corrections in list(knowledge.corrections.items()):
            for name, new_name in list(corrections.items()):
                if _may_be_shared(name, new_name):
                    facts[json.dumps([url, surface, deployment, name])] = new_name
        for deployment, wire in list(knowledge.wires.items()):
            facts[json.dumps([url, deployment])] = wire
    return facts | _lengths_of(places, lengths)


def _lengths_of(places: Places, lengths: VectorLengths) -> dict[str, str]:
    """Return the lengths of vectors; other processes may call the endpoints by other names."""
    facts = {}
    for (route, shape), known in lengths.known().items():
        for key, length in known.items():
            deployment, _, endpoint = key.rpartition("@")
            if endpoint in places:
                url, shape_text = places[endpoint][0], json.dumps(shape, default=str)
                facts[json.dumps([_LENGTH, route, shape_text, deployment, url])] = str(length)
    return facts


def learn(facts: Mapping[str, str], places: Places, lengths: VectorLengths) -> list[str]:
    """Learn what others know; what this process has learned itself wins.

    Returns:
        The names of facts that are no longer true.
    """
    outdated = []
    known = {url: knowledge for url, knowledge in places.values() if knowledge is not None}
    for name, path, text in _read(facts):
        if len(path) == 4 and path[0] in known and _may_be_shared(path[3], text):
            known[path[0]].corrections_of(path[1], path[2]).setdefault(path[3], text)
        elif len(path) == 2 and path[0] in known:
            for wire in get_args(WireName):
                if wire == text:
                    known[path[0]].wires.setdefault(path[1], wire)
        elif len(path) == 5 and path[0] == _LENGTH and text.isdecimal():
            is_true = _learn_length(path[1:], int(text), places, lengths)
            outdated += [] if is_true else [name]
    return outdated


def _learn_length(path: list[str], length: int, places: Places, lengths: VectorLengths) -> bool:
    """Return False if the length is known to be old."""
    route, shape_text, deployment, url = path
    try:
        shape = tuple(json.loads(shape_text))
        hash(shape)
    except (ValueError, TypeError):
        return True  # somebody else has written there
    learned = [
        lengths.learn(route, shape, f"{deployment}@{endpoint}", length)
        for endpoint, (known_url, _) in places.items()
        if known_url == url
    ]
    return all(learned)


def _read(facts: Mapping[str, str]) -> Iterator[tuple[str, list[str], str]]:
    for name, text in facts.items():
        try:
            path = json.loads(name)
        except ValueError:
            continue
        if isinstance(path, list) and all(isinstance(each, str) for each in path):
            yield name, path, text


def _may_be_shared(name: str, text: str) -> bool:
    # Writers to the server must not decide the audience of tokens.
    return "://" not in name and "://" not in text
