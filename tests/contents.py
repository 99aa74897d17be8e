"""Check what a built wheel and sdist contain: `python tests/contents.py FOLDER`."""

import sys
import tarfile
import zipfile
from pathlib import Path

PORTIONS = {"ag2", "agent_framework", "core", "langchain", "llama_index", "local"}
PORTIONS |= {"migrate", "otel", "redis", "semantic_kernel", "testing"}


def check(folder: Path) -> None:
    """Look into the one wheel and the one sdist of a folder."""
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    with tarfile.open(sdist) as archive:
        sources = {name.partition("/")[2] for name in archive.getnames()}
    portions = {name.split("/")[1] for name in names}
    assert portions == PORTIONS, portions
    typed = {f"azinfer/{portion}/py.typed" for portion in PORTIONS}
    assert typed <= names, typed - names
    assert {name.partition("/")[0] for name in names} == {"azinfer"}, names
    # The wheel built from the sdist must be this wheel.
    missing = {name for name in names if not {f"core/{name}", f"integrations/{name}"} & sources}
    assert not missing, missing
    assert {"LICENSE", "CHANGELOG.md", "README.md", "tests/contents.py"} <= sources


if __name__ == "__main__":
    check(Path(sys.argv[1]))
