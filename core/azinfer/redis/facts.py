"""Facts that one process has learned about endpoints, for the other processes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TypeAlias, get_args

from azinfer.core.endpoint_knowledge import EndpointKnowledge
from azinfer.core.surfaces import WireName

Places: TypeAlias = Mapping[str, tuple[str, EndpointKnowledge | None]]


def facts_of(places: Places) -> dict[str, str]:
    """Return everything that was learned, as texts by their names."""
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
    return facts


def learn(facts: Mapping[str, str], places: Places) -> None:
    """Learn what others know; what this process has learned itself wins."""
    known = {url: knowledge for url, knowledge in places.values() if knowledge is not None}
    for path, text in _read(facts):
        if len(path) == 4 and path[0] in known and _may_be_shared(path[3], text):
            known[path[0]].corrections_of(path[1], path[2]).setdefault(path[3], text)
        elif len(path) == 2 and path[0] in known:
            for wire in get_args(WireName):
                if wire == text:
                    known[path[0]].wires.setdefault(path[1], wire)


def _read(facts: Mapping[str, str]) -> Iterator[tuple[list[str], str]]:
    for name, text in facts.items():
        try:
            path = json.loads(name)
        except ValueError:
            continue
        if isinstance(path, list) and all(isinstance(each, str) for each in path):
            yield path, text


def _may_be_shared(name: str, text: str) -> bool:
    # Writers to the server must not decide the audience of tokens.
    return "://" not in name and "://" not in text
