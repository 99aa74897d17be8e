"""The HTML of the web page."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence

import htpy as h

from azinfer.local.engines.base import last_text
from azinfer.local.resource.deployment import LocalDeployment
from azinfer.local.resource.state import ResourceState
from azinfer.local.resource.storage.request_log import LogEntry

_ROWS = 200
# The most deployments on the page, and the most bytes of each body.
_MOST_DEPLOYMENTS, _SHOWN_BYTES = 100, 128 * 1024
_LONGEST = 100  # characters of a request's summary
_FACTS = ("Name", "Model", "Capacity", "Content filter", "Rate limits", "Left now")


def key_page(wrong: str = "") -> h.Renderable:
    """Return the page for a browser that is not logged in."""
    return _shell(
        [
            h.h1["azinfer"],
            h.p["The key of this endpoint was printed where it was started."],
            wrong and h.p(".bad")[wrong],
            h.form(".key", method="post", action="/")[
                h.input(
                    name="key", type="password", placeholder="key", autofocus=True, required=True
                ),
                h.button["Open"],
            ],
        ]
    )


def page_document(state: ResourceState) -> h.Renderable:
    """Return the page with the current content."""
    return _shell(
        [
            h.h1["azinfer"],
            h.p[
                "The local endpoint of this machine. Requests: ",
                h.span("#state")["connecting"],
                ".",
            ],
            h.h2["Deployments"],
            h.div(".wide")[
                h.table("#deployments")[
                    h.thead[_cells(*_FACTS)],
                    h.tbody[deployment_rows(state)],
                ]
            ],
            h.h2["Try a chat"],
            _trial(state),
            h.h2["Requests"],
            h.p("#empty", hidden=bool(len(state.log)))["None yet."],
            h.div(".wide")[
                h.table("#log")[
                    h.thead[_cells("Request", "Routed to", "Status", "Tokens", "Time")],
                    h.tbody[[row(each) for each in reversed(state.log[-_ROWS:])]],
                ]
            ],
            h.script(src="/_azinfer/page/page.js", defer=True),
        ]
    )


def _shell(content: Sequence[h.Node]) -> h.Renderable:
    return h.html(lang="en")[
        h.head[
            h.meta(charset="utf-8"),
            h.meta(name="viewport", content="width=device-width, initial-scale=1"),
            h.title["azinfer"],
            h.link(rel="icon", href="data:,"),
            h.link(rel="stylesheet", href="/_azinfer/page/page.css"),
        ],
        h.body[content],
    ]


def _cells(*names: str) -> h.Node:
    return h.tr[[h.th[name] for name in names]]


def deployments(state: ResourceState) -> h.Renderable:
    """Return the rows of the deployments alone."""
    return h.fragment[deployment_rows(state)]


def deployment_rows(state: ResourceState) -> list[h.Node]:
    """Return a row for each deployment: its facts, and what is left of its limits."""
    rows = [
        _deployment_row(state, each) for each in itertools.islice(state.registry, _MOST_DEPLOYMENTS)
    ]
    if (more := len(state.registry) - _MOST_DEPLOYMENTS) > 0:
        text = f"{more:,} more; GET /_azinfer/deployments returns all of them."
        rows.append(h.tr[h.td(colspan=len(_FACTS))[text]])
    return rows


def _deployment_row(state: ResourceState, deployment: LocalDeployment) -> h.Node:
    limits = [
        f"{each.count:g} {each.key}s in {each.renewal_period:g} s" for each in deployment.limits
    ]
    version = f"{deployment.model_format}, version {deployment.model_version}"
    return h.tr[
        h.td[h.strong[deployment.name], h.small[type(deployment.engine).__name__]],
        h.td[
            deployment.model_name,
            h.small[version],
        ],
        h.td[deployment.capacity_type, h.small[f"capacity {deployment.units:g}"]],
        h.td[deployment.filter.name, deployment.filter.active and h.small["looks for words"]],
        h.td[[h.div[each] for each in limits] or "none"],
        h.td[_remaining_bars(state.limits(deployment).headers())],
    ]


def _remaining_bars(headers: Mapping[str, str]) -> h.Node:
    """Return the use of a provisioned capacity and what is left of each limit, as bars."""
    used = headers.get("azure-openai-deployment-utilization")
    busy = used and h.div[h.meter(min="0", max="100", value=used.rstrip("%")), f" {used} in use"]
    return busy, [
        _bar(headers, key)
        for key in ("requests", "tokens")
        if f"x-ratelimit-limit-{key}" in headers
    ]


def _bar(headers: Mapping[str, str], key: str) -> h.Node:
    most, left = headers[f"x-ratelimit-limit-{key}"], headers[f"x-ratelimit-remaining-{key}"]
    return h.div[h.meter(min="0", max=most, value=left), f" {left} of {most} {key}"]


def _trial(state: ResourceState) -> h.Node:
    names = (each.name for each in state.registry if _can_chat(each))
    chats = list(itertools.islice(names, _MOST_DEPLOYMENTS))
    if not chats:
        return h.p["No deployment here can chat."]
    return [
        h.form("#try")[
            h.select(name="model", aria_label="deployment")[[h.option[name] for name in chats]],
            h.textarea(name="text", aria_label="message", required=True)[
                "Write one sentence about the sea."
            ],
            h.button["Send"],
        ],
        h.div("#answer", aria_live="polite"),
        h.div("#about"),
    ]


def _can_chat(deployment: LocalDeployment) -> bool:
    return deployment.engine_capabilities.chat and "chat" in deployment.served_wires


def row_id(entry: LogEntry) -> str:
    """Return the id of an entry's row."""
    return f"request-{entry.request_id}"


def row(entry: LogEntry) -> h.Node:
    """Return the row of one request: its content, its route and the reason, and its response."""
    good = entry.status < 400
    return h.tr(id=row_id(entry))[
        h.td[
            h.details[
                h.summary[h.code[f"{entry.method} {entry.path}"], h.small[_summary(entry)]],
                h.div["Sent"],
                h.pre[_request_text(entry)],
                not _is_long(entry)
                and entry.body is not None
                and h.details[h.summary["The raw body"], h.pre[_raw_body(entry)]],
                h.div["Answered"],
                h.pre[entry.answer],
            ]
        ],
        h.td[
            entry.deployment or (None if good else "nowhere"),
            entry.why and h.small[f"by {entry.why}"],
            entry.wire and h.small[f"wire {entry.wire}"],
            entry.hint and h.small[entry.hint],
        ],
        h.td(".good" if good else ".bad")[str(entry.status), entry.fault and h.small[entry.fault]],
        h.td(".number")[_tokens(entry)],
        h.td(".number")[_time(entry)],
    ]


def _summary(entry: LogEntry) -> str:
    """Return a summary of a request: the newest message, the first text, or a file's name."""
    body = {} if _is_long(entry) else entry.body
    body = body if isinstance(body, dict) else {}
    texts = body.get("messages") or body.get("input") or body.get("prompt") or ""
    if isinstance(file := (entry.form or {}).get("file"), dict):
        texts = f"{file['filename']}, {file['bytes']:,} bytes"
    if isinstance(texts, list):
        texts = last_text(texts) if isinstance(texts[-1], dict) else texts[0]
    text = " ".join(str(texts).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _request_text(entry: LogEntry) -> str:
    """Return the request as text, with indented JSON."""
    query = "&".join(f"{name}={value}" for name, value in entry.query.items())
    lines = [f"{entry.method} {entry.path}{query and '?'}{query}"]
    lines += [f"{name}: {value}" for name, value in entry.headers.items()]
    if _is_long(entry) and entry.form is None:
        text = entry.raw_body[:_SHOWN_BYTES].decode("utf-8", "replace")
        return "\n".join([*lines, "", f"{text}… ({len(entry.raw_body):,} bytes)"])
    if entry.body is not None:
        lines += ["", json.dumps(entry.body, indent=2, ensure_ascii=False)]
    if entry.raw_body and (entry.body is None or entry.form is not None):
        lines += ["", _raw_body(entry)]
    return "\n".join(lines)


def _is_long(entry: LogEntry) -> bool:
    """Return whether a body is too long to be shown whole."""
    return len(entry.raw_body) > _SHOWN_BYTES


def _raw_body(entry: LogEntry) -> str:
    return entry.raw_body.decode("utf-8", "replace")


def _tokens(entry: LogEntry) -> str:
    if entry.prompt_tokens is None:
        return ""
    return f"{entry.prompt_tokens} + {entry.completion_tokens or 0}"


def _time(entry: LogEntry) -> h.Node:
    if entry.open:
        return "streaming"
    first = f"first {entry.first_seconds * 1000:.0f} ms"
    return [f"{entry.seconds * 1000:.0f} ms", h.small[first]]
