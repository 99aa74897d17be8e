"""What `azinfer migrate` rewrites, what it leaves unchanged, and what its command prints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from azinfer.migrate import migrate_source

COMMAND = str(Path(sys.executable).with_name("azinfer"))
AZURE = "from openai import AzureOpenAI\nclient = AzureOpenAI()\n"


def after(program: str) -> str:
    return migrate_source(program).after


def problems(program: str) -> list[tuple[int, str]]:
    return [(each.line, each.text) for each in migrate_source(program).problems]


def test_plain_assignments_are_followed() -> None:
    program = AZURE + (
        "other = client\nchat = other.chat.completions\nask = chat.create\nask(model='m')\n"
    )
    assert after(program).splitlines()[2:] == [
        "other = client",
        "chat = other",
        "ask = chat.complete",
        "ask(model='m')",
    ]


def test_a_conditional_import_is_an_import() -> None:
    program = (
        "try:\n    from openai import AzureOpenAI\nexcept ImportError:\n    AzureOpenAI = None\n"
    )
    assert after(program + "client = AzureOpenAI()\n") == (
        "try:\n    from azinfer.core import InferenceClient\nexcept ImportError:\n"
        "    InferenceClient = None\nclient = InferenceClient()\n"
    )


def test_an_import_that_leaves_its_function_is_reported() -> None:
    program = (
        "def load():\n    from openai import AzureOpenAI, lib\n    return lib.azure\n"
        "client = load().AzureOpenAI()\n"
    )
    result = migrate_source(program)
    assert not result.is_changed
    assert [each.line for each in result.problems] == [3]


def test_type_comments_and_quoted_types_follow() -> None:
    program = AZURE + "def f(c):\n    # type: (AzureOpenAI) -> None\n    x: 'AzureOpenAI' = c\n"
    assert after(program).count("InferenceClient") == 4
    assert "# type: ignore" in after(AZURE + "x = 1  # type: ignore\n")


def test_clients_of_others_are_left_alone() -> None:
    program = "from openai import OpenAI\nclient = OpenAI(base_url='https://api.example.com/v1')\n"
    assert after(program) == program
    [(line, text)] = problems(program)
    assert line == 2
    assert "left as it is" in text


@pytest.mark.parametrize("arguments", ["api_key='k'", "base_url=url, api_key='k'"])
@pytest.mark.parametrize(
    "uses",
    [
        "r = client.chat.completions.create(model='m', messages=[])\nprint(r.model_dump())\n",
        "v = client.embeddings.create(model='e', input=['a']).data[0].embedding\n",
        "chat = client.with_options(timeout=1).chat.completions\nchat.create(model='m')\n",
        "def f(c: OpenAI) -> None:\n    c.chat.completions.create(model='m')\n",
        "def f():\n    return client\nf().close()\nclient['a']\n",
    ],
)
def test_calls_of_clients_that_stay_are_left_alone(arguments: str, uses: str) -> None:
    program = f"from openai import OpenAI\nclient = OpenAI({arguments})\n{uses}"
    assert after(program) == program
    assert [line for line, _ in problems(program)] == [2]


@pytest.mark.parametrize(
    "client",
    [
        "client = AzureOpenAI() if azure else OpenAI()\n\n\n\n",
        "client = azure and AzureOpenAI() or OpenAI()\n\n\n\n",
        "if azure:\n    client = AzureOpenAI()\nelse:\n    client = OpenAI()\n",
        "if azure:\n    client = OpenAI()\nelse:\n    client = AzureOpenAI()\n",
        "def make():\n    if azure: return AzureOpenAI()\n    return OpenAI()\nclient = make()\n",
        "a = OpenAI(base_url='https://x.azure.com')\nb = OpenAI()\ndef f(client: OpenAI): pass\n\n",
        "c = OpenAI()\ndef f(client: AzureOpenAI | OpenAI): pass\n\n\n",
        "c = OpenAI()\ndef f(client: Union[AzureOpenAI, OpenAI]): pass\n\n\n",
    ],
)
def test_calls_of_clients_that_may_stay_are_reported(client: str) -> None:
    calls = "    r = client.chat.completions.create(model='m')\n    print(r.model_dump())\n"
    calls += "    client.embeddings.create(model='e')\n"
    if "(client:" in client:
        client = client.replace(": pass\n", ":\n" + calls)
    else:
        client += calls.replace("    ", "")
    program = "from openai import AzureOpenAI, OpenAI\n" + client
    lines = program.splitlines()
    assert [line for line in after(program).splitlines() if "create" in line] == [
        line for line in lines if "create" in line
    ]
    assert "model_dump()" in after(program)
    reported = {lines[line - 1].strip() for line, text in problems(program) if "stays" in text}
    assert reported == {line.strip() for line in lines if "create" in line}


def test_models_of_others_are_left_alone() -> None:
    program = "import litellm\nlitellm.completion(model='mistral/large', messages=[])\n"
    assert (after(program), problems(program)) == (program, [])


def test_errors_of_other_azure_packages_are_left_alone() -> None:
    program = (
        "from azure.core.exceptions import HttpResponseError\n{}"
        "from azure.ai.inference import EmbeddingsClient\n"
        "try:\n    EmbeddingsClient('u', 'k').embed(input=[])\n"
        "except HttpResponseError:\n    pass\n"
    )
    assert "except InferenceError" in after(program.format(""))
    assert "except HttpResponseError" in after(program.format("import azure.storage.blob\n"))


def test_an_unknown_argument_is_reported() -> None:
    program = "from openai import AzureOpenAI\nAzureOpenAI(\n    websocket_base_url='w',\n)\n"
    assert problems(program) == [
        (3, "websocket_base_url='w' has no equal in InferenceClient; it was removed")
    ]


def test_a_stream_that_depends_is_reported() -> None:
    [(line, text)] = problems(AZURE + "client.chat.completions.create(stream=flag)\n")
    assert line == 3
    assert "stream=" in text


def test_an_import_of_everything_is_reported() -> None:
    [(line, text)] = problems("from azure.ai.inference.models import *\nUserMessage('x')\n")
    assert line == 1
    assert "import *" in text


def test_a_program_without_old_packages_stays() -> None:
    program = "import os\nfrom azinfer.core import Usage\n\n# a comment\nprint( os.name )\n"
    result = migrate_source(program)
    assert (result.after, result.problems, result.diff()) == (program, (), "")


def azinfer(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [COMMAND, "migrate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_shows_the_changes_and_writes_only_if_asked(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(AZURE)
    shown = azinfer(tmp_path)
    assert shown.returncode == 0
    assert "+client = InferenceClient()" in shown.stdout
    assert path.read_text() == AZURE
    assert azinfer(path, "--write").returncode == 0
    assert path.read_text() == after(AZURE)


def test_the_command_keeps_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_bytes(AZURE.replace("\n", "\r\n").encode())
    assert azinfer(path, "--write").returncode == 0
    assert path.read_bytes() == after(AZURE).replace("\n", "\r\n").encode()


def test_the_command_lists_lines_to_do_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(AZURE + "client.models.list()\n")
    done = azinfer(path)
    assert done.returncode == 1
    assert f"{path}:3: models.list() has no equal in azinfer" in done.stderr
    [record] = json.loads(azinfer(path, "--json").stdout)
    assert record["problems"] == [{"line": 3, "text": "models.list() has no equal in azinfer"}]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [("broken.py", "def (", "cannot be read"), ("missing.py", None, "does not exist")],
)
def test_a_file_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, name: str, text: str | None, message: str
) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    done = azinfer(path)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
