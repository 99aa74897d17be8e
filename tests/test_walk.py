"""A stranger's walk: an empty home, a clone, and the README's commands, typed as written."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
INSTALLS = {"small": "pip install '.[local]'", "full": "pip install '.[all]'"}
# What leads pip and the network, and nothing else of the contributor's.
_KEPT = ("PIP_", "UV_", "SSL_", "REQUESTS_", "HTTP", "https_", "http_", "NO_PROXY", "no_proxy")
_MOST_MEGABYTES, _LONGEST = 120, 900


def block(start: str) -> str:
    """Return the README's one block of commands that has a text."""
    matches: list[str] = [each for each in BLOCKS if start in each]
    assert len(matches) == 1, (start, matches)
    return matches[0]


class Stranger:
    """Somebody with an empty home and a clone."""

    def __init__(self, folder: Path) -> None:
        self.clone = folder / "azinfer"
        home = folder / "home"
        home.mkdir()
        python = Path(shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin") or "python3")
        self.environ = {
            **{name: each for name, each in os.environ.items() if name.startswith(_KEPT)},
            "HOME": str(home),
            "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin",
            "PYTHONUNBUFFERED": "1",
        }
        # What a clone has: the files that git knows, as they are now.
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                (self.clone / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, self.clone / name)

    def type(self, commands: str) -> str:
        """Return what commands print; they must succeed."""
        done = subprocess.run(
            ["bash", "-e", "-c", commands],
            cwd=self.clone,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=_LONGEST,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    @contextmanager
    def terminal(self, commands: str) -> Iterator[str]:
        """Run commands in a terminal of their own until the end; give the first line."""
        with subprocess.Popen(
            ["bash", "-c", commands],
            cwd=self.clone,
            env=self.environ,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            try:
                yield process.stdout.readline()
            finally:
                os.killpg(process.pid, signal.SIGINT)
                process.wait(20)


@pytest.mark.parametrize("way", INSTALLS)
def test_the_readme_can_be_typed_from_top_to_bottom(tmp_path: Path, way: str) -> None:
    stranger = Stranger(tmp_path)
    start = time.monotonic()
    printed = stranger.type(block(INSTALLS[way]))
    seconds = time.monotonic() - start
    if way == "small":
        megabytes = (
            sum(
                path.stat().st_size
                for path in (stranger.clone / ".venv").rglob("*")
                if path.is_file() and not path.is_symlink()
            )
            // 2**20
        )
        assert megabytes <= _MOST_MEGABYTES, f"{megabytes} MB after {seconds:.0f} s"
    assert "Every step passed" in printed
    assert "Downloading" in printed or "Collecting" in printed or "Processing" in printed
    activate = ". .venv/bin/activate\n"
    (serve,) = [each for each in BLOCKS if each.startswith("azinfer serve")]
    with stranger.terminal(activate + serve) as line:
        assert line.startswith("http://127.0.0.1:")
        url, _, key = line.split()
        chat = stranger.type(activate + block("azinfer chat"))
        assert chat.strip()
        (program,) = re.findall(
            r"^## Use it\n+```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE
        )
        program = program.replace("https://contoso.services.ai.azure.com", url)
        (stranger.clone / "used.py").write_text(program.replace("a-key", key))
        stranger.type(activate + "python used.py")
    (stranger.clone / "program.py").write_text("from openai import AzureOpenAI\nAzureOpenAI()\n")
    if way == "small":
        stranger.type(f"{activate}pip install '.[migrate]'")
    assert "+InferenceClient()" in stranger.type(activate + block("azinfer migrate"))


def test_every_block_of_commands_is_on_the_walk() -> None:
    walked = [*INSTALLS.values(), "azinfer serve", "azinfer chat", "azinfer migrate", ".ci/run"]
    for each in BLOCKS:
        assert any(start in each for start in walked), each
    for install in INSTALLS.values():
        assert "--quiet" not in block(install)
