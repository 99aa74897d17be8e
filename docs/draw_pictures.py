"""Draw the pictures of the README and the documentation: `python docs/draw_pictures.py`.

- `request.svg`: how a request travels
- `demo.svg`: what `azinfer demo --synthetic` prints
- `page.png`: the page of the local endpoint after some requests, in a real browser
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path

FOLDER = Path(__file__).parent / "pictures"
_BOXES = (
    ("your program", ("LangChain, AG2, …", "or plain Python")),
    ("find the place", ("URL → surface", "name → deployment", "model → wire")),
    ("adapt", ("parameters", "messages", "answer.routing.adapted")),
    ("send", ("key or token", "own connections", "retries, routes")),
    ("deployment", ("Azure AI resource", "or azinfer serve")),
)
_WIDTH, _HEIGHT, _GAP, _TOP = 158, 104, 26, 46
_FONT = "font-family='system-ui, sans-serif'"


def draw_request() -> str:
    """Return the way of a request, and of its answer back, as SVG."""
    whole = len(_BOXES) * (_WIDTH + _GAP) - _GAP + 2
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {whole} 216' {_FONT}>",
        "<title>How a request travels</title>",
        "<defs><marker id='tip' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' "
        "markerHeight='7' orient='auto'><path d='M0 0 8 4 0 8z' fill='#456'/></marker></defs>",
        f"<rect width='{whole}' height='216' rx='8' fill='#fff'/>",
    ]
    left = _WIDTH + _GAP / 2
    inside = 3 * (_WIDTH + _GAP)
    parts.append(
        f"<rect x='{left}' y='12' width='{inside}' height='192' rx='10' fill='#eef4fb'/>"
        f"<text x='{left + 14}' y='33' font-size='14' fill='#246'>azinfer.core</text>"
    )
    for number, (title, lines) in enumerate(_BOXES):
        parts += _box(1 + number * (_WIDTH + _GAP), title, lines)
        if number:
            parts.append(_arrow(number * (_WIDTH + _GAP), _TOP + 40, forward=True))
            parts.append(_arrow(number * (_WIDTH + _GAP), _TOP + 74, forward=False))
    middle = left + inside / 2
    parts.append(
        f"<text x='{middle}' y='184' font-size='13' fill='#246' text-anchor='middle'>"
        "back: read the answer, the stream or the error; count tokens; name who answered</text>"
    )
    return "\n".join([*parts, "</svg>", ""])


def _box(x: float, title: str, lines: tuple[str, ...]) -> list[str]:
    middle = x + _WIDTH / 2
    texts = [
        f"<text x='{middle}' y='{_TOP + 46 + 18 * row}' font-size='12' fill='#345' "
        f"text-anchor='middle'>{escape(line)}</text>"
        for row, line in enumerate(lines)
    ]
    return [
        f"<rect x='{x}' y='{_TOP}' width='{_WIDTH}' height='{_HEIGHT}' rx='8' fill='#fff' "
        "stroke='#456'/>",
        f"<text x='{middle}' y='{_TOP + 24}' font-size='15' font-weight='600' fill='#123' "
        f"text-anchor='middle'>{escape(title)}</text>",
        *texts,
    ]


def _arrow(x: float, y: float, *, forward: bool) -> str:
    start, end = (x - _GAP + 3, x - 1) if forward else (x - 1, x - _GAP + 3)
    return f"<line x1='{start}' y1='{y}' x2='{end}' y2='{y}' stroke='#456' marker-end='url(#tip)'/>"


def draw_terminal(command: str, printed: str) -> str:
    """Return a command and what it printed as a picture of a terminal, as SVG."""
    lines = [f"$ {command}", *printed.rstrip().splitlines()]
    width, height = 8.4 * max(map(len, lines)) + 32, 19 * len(lines) + 34
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width:.0f} {height}'>",
        f"<title>{escape(command)}</title>",
        f"<rect width='{width:.0f}' height='{height}' rx='8' fill='#10171f'/>",
        "<g font-family='ui-monospace, Menlo, Consolas, monospace' font-size='14' fill='#dde6ee'>",
    ]
    for row, line in enumerate(lines):
        colour = " fill='#7fd88f'" if line.startswith(("✓", "$")) else ""
        parts.append(f"<text x='16' y='{32 + 19 * row}'{colour}>{_spaced(line)}</text>")
    return "\n".join([*parts, "</g></svg>", ""])


def _spaced(line: str) -> str:
    """Return a line whose spaces are not collapsed."""
    return escape(line).replace(" ", "\u00a0")


def run_demo() -> str:
    """Return what the demo prints, without what is left out."""
    command = [str(Path(sys.executable).with_name("azinfer")), "demo", "--synthetic"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "80"}
    )
    return "\n".join(line for line in done.stdout.splitlines() if not line.startswith("left out"))


def photograph_page(path: Path) -> None:
    """Write a picture of the local endpoint's page, with some requests on it."""
    from playwright.sync_api import sync_playwright

    from azinfer.core import InferenceClient, UserMessage
    from azinfer.local import LocalDeployment, LocalEndpoint

    deployments = [
        LocalDeployment("small-chat", "SmolLM2-135M-Instruct"),
        LocalDeployment(
            "Small-Chat-PTU",
            "SmolLM2-135M-Instruct",
            capacity_type="ProvisionedManaged",
            capacity=100,
        ),
        LocalDeployment("small-embed", "all-MiniLM-L6-v2"),
    ]
    with LocalEndpoint(deployments) as endpoint, sync_playwright() as play:
        client = InferenceClient(endpoint.url, endpoint.key)
        for name in ("small-chat", "SMALL-chat-ptu", "small-chat"):
            client.complete([UserMessage("Write one sentence about the sea.")], model=name)
        client.embed(["first text", "second text"], model="small-embed")
        browser = play.chromium.launch(executable_path=_browser(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 780})
        page.goto(endpoint.page_url())
        page.wait_for_load_state("load")
        page.screenshot(path=path)
        browser.close()


def _browser() -> str | None:
    """Return the system's Chromium; None for the one that playwright installed."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


def main(folder: Path = FOLDER) -> None:
    """Draw all pictures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "request.svg").write_text(draw_request(), "utf-8")
    (folder / "demo.svg").write_text(draw_terminal("azinfer demo --synthetic", run_demo()), "utf-8")
    with tempfile.TemporaryDirectory() as name:
        photograph_page(Path(name) / "page.png")
        shutil.copy(Path(name) / "page.png", folder / "page.png")


if __name__ == "__main__":
    main()
