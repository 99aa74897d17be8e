"""Build the documentation as a site: `python docs/build_site.py FOLDER`; a warning is an error.

Nothing is written twice: the start page is the README, the reference comes from docstrings, and the
notebooks are converted. `docs/pages` has only what is nowhere else.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Where files of the repository are in the site.
PLACES = {
    "README.md": "index.md",
    "core/README.md": "core.md",
    "integrations/README.md": "adapters.md",
    "CHANGELOG.md": "changelog.md",
}
REFERENCE = {
    "core": "azinfer.core",
    "local": "azinfer.local",
    "migrate": "azinfer.migrate",
    "langchain": "azinfer.langchain",
    "llama_index": "azinfer.llama_index",
    "semantic_kernel": "azinfer.semantic_kernel",
    "ag2": "azinfer.ag2",
    "agent_framework": "azinfer.agent_framework",
}
TITLES = {
    "endpoints": "Endpoints and surfaces",
    "keys": "Keys and Entra ID",
    "deployments": "Several deployments",
    "limits": "Rate limits",
    "streaming": "Streaming",
    "tools": "Tools",
    "structured": "Structured output",
    "images": "Images",
    "bulk": "Many texts",
    "pytest": "Tests with pytest",
    "ci": "CI without a network",
    "proxies": "Proxies and private CAs",
    "troubleshooting": "Troubleshooting",
}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def main(target: Path) -> None:
    """Build the site into a folder."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        pages = work / "pages"
        shutil.copytree(ROOT / "docs/pages", pages)
        shutil.copytree(ROOT / "docs/pictures", pages / "pictures")
        for source, place in PLACES.items():
            (pages / place).write_text(_page(source), "utf-8")
        (pages / "notebooks").mkdir()
        for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
            (pages / f"notebooks/{path.stem}.md").write_text(_notebook(path), "utf-8")
        (pages / "reference").mkdir()
        for title, module in REFERENCE.items():
            (pages / f"reference/{title}.md").write_text(_reference(module), "utf-8")
        _copy_sources(work / "sources")
        config = work / "mkdocs.yml"
        config.write_text(_config(pages), "utf-8")
        command = [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--strict"]
        command += ["--config-file", str(config), "--site-dir", str(target.resolve())]
        quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # the theme's, about its own future
        done = subprocess.run(command, env=quiet, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(done.stderr)


def _page(source: str) -> str:
    """Return a file of the repository with its links as they are in the site."""
    folder = Path(source).parent

    def link(match: re.Match[str]) -> str:
        picture, text, url = match[1], match[2], match[3]
        if url.startswith(("http", "#")):
            return match[0]
        path, hash_sign, part = url.partition("#")
        place = _place((ROOT / folder / path).resolve().relative_to(ROOT).as_posix())
        return f"{picture}[{text}]({place}{hash_sign}{part})" if place else text

    return _LINK.sub(link, (ROOT / source).read_text("utf-8"))


def _place(path: str) -> str:
    """Return where a file is in the site; empty if it is not there."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/pages/").removeprefix("docs/")
    if path.startswith("notebooks/"):
        return path.replace(".ipynb", ".md")
    return PLACES.get(path, "")


def _notebook(path: Path) -> str:
    """Return a notebook as a page: its texts, its code and what that printed."""
    parts = []
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(_LINK.sub(r"\2", source))
            continue
        parts.append(f"```python\n{source}\n```")
        printed = "".join(_printed(output) for output in cell.get("outputs", ()))
        if printed.strip():
            parts.append(f"```text\n{printed.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def _printed(output: dict[str, object]) -> str:
    data = output.get("data")
    text = output.get("text") or (data.get("text/plain") if isinstance(data, dict) else "") or ""
    return "".join(text) if isinstance(text, list) else str(text)


def _reference(module: str) -> str:
    """Return a page with every public name of a package."""
    names = importlib.import_module(module).__all__
    head = f"# {module}\n\n"
    return head + "\n\n".join(f"::: {module}.{name}" for name in names if name[0] != "_") + "\n"


def _copy_sources(target: Path) -> None:
    """Copy all portions of azinfer under one root, where doctests are sections of their own."""
    for root in ("core", "integrations"):
        for path in (ROOT / root).glob("azinfer/**/*.py"):
            copy = target / path.relative_to(ROOT / root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            text = re.sub(r"^( +)Example:$", r"\1Examples:", path.read_text("utf-8"), flags=re.M)
            copy.write_text(text, "utf-8")


def _config(pages: Path) -> str:
    """Return the configuration with its list of pages."""
    howto = [{title: f"howto/{name}.md"} for name, title in TITLES.items()]
    moving = [f"moving/{path.name}" for path in sorted((pages / "moving").glob("*.md"))]
    books = [f"notebooks/{path.name}" for path in sorted((pages / "notebooks").glob("*.md"))]
    reference = [{module: f"reference/{title}.md"} for title, module in REFERENCE.items()]
    nav = [
        {"Start": "index.md"},
        {"How to": howto},
        {"Moving over": moving},
        {"Core and the local endpoint": "core.md"},
        {"Adapters": "adapters.md"},
        {"Notebooks": books},
        {"Reference": reference},
        {"Changes": "changelog.md"},
    ]
    text = (ROOT / "docs/mkdocs.yml").read_text("utf-8")
    return f"{text}docs_dir: {json.dumps(str(pages))}\nnav: {json.dumps(nav)}\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
