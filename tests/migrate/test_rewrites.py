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


CHAT = AZURE + "r = client.chat.completions.create(model='m')\n"


@pytest.mark.parametrize(
    ("code", "new"),
    [
        ("r.choices[0].message.model_dump()", "x = dict(r.choices[0].message.raw)"),
        ("[r.usage.to_dict()]", "x = [dict(r.usage.raw)]"),
        ("r.as_dict()['id']", "x = r.raw['id']"),
        ("print(r.as_dict())", "x = print(r.raw)"),
        ("[c.model_dump() for c in r.choices[0].message.tool_calls or []]", "c.to_wire() for c"),
    ],
)
def test_dumps_of_answers_become_their_raw_fields(code: str, new: str) -> None:
    program = CHAT + f"x = {code}\n"
    assert new in after(program)
    assert problems(program) == []


@pytest.mark.parametrize(
    "code",
    [
        "r.choices[0].model_dump()",
        "r.choices[0].message.model_dump(exclude_none=True)",
        "map(r.choices[0].message.model_dump_json, [])",
        "r.choices[0].message.tool_calls[0].function.model_dump()",
    ],
)
def test_dumps_without_an_equal_are_reported(code: str) -> None:
    [(line, text)] = problems(CHAT + f"x = {code}\n")
    assert line == 4
    assert "of an answer has no equal" in text


def test_a_method_of_a_parsed_answer_is_not_reported() -> None:
    program = CHAT + "x = r.choices[0].message.parsed.model_dump()\n"
    assert "x = r.parsed.model_dump()" in after(program)
    assert problems(program) == []


@pytest.mark.parametrize("use", ["other.Client(**settings)", "show(**settings)", "print(settings)"])
def test_a_dictionary_that_others_use_keeps_its_names(use: str) -> None:
    program = "import other\nfrom openai import AzureOpenAI\n"
    program += "settings = {'azure_endpoint': 'https://x', 'api_key': 'k'}\n"
    program += f"client = AzureOpenAI(**settings)\n{use}\n"
    assert "{'azure_endpoint': 'https://x', 'api_key': 'k'}" in after(program)
    assert "**settings is used elsewhere too" in problems(program)[0][1]


@pytest.mark.parametrize(
    "setting",
    [
        "def setup(key):\n    litellm.api_key = key\n",
        "def setup():\n    key = read()\n    litellm.api_key = key\n",
        "key = 'a'\nlitellm.api_key = key\nkey = 'b'\n",
        "key = 'a'\ndef setup(key=None):\n    litellm.api_key = key\n",
    ],
)
def test_a_setting_of_litellm_that_only_one_place_knows_stays(setting: str) -> None:
    call = "litellm.completion(model='azure/chat', messages=[])\n"
    program = f"import litellm\n{setting}x = {call}"
    assert "litellm.api_key = key" in after(program)
    assert "litellm.api_key" in problems(program)[0][1]


def test_an_import_that_the_program_did_not_use_is_noted() -> None:
    program = "from openai import AzureOpenAI, BadRequestError\nclient = AzureOpenAI()\n"
    result = migrate_source(program)
    assert "BadRequestError" not in result.after
    assert [each.text for each in result.notes] == [
        "BadRequestError is not used here; files that import it from here lose it"
    ]


def test_settings_of_litellm_stay_while_other_calls_need_them() -> None:
    settings = "litellm.drop_params = True\nlitellm.api_base = 'https://x'\n"
    azure = "litellm.completion(model='azure/m', messages=[])\n"
    other = "litellm.completion(model='mistral/m', messages=[])\n"
    assert after("import litellm\n" + settings + azure) == (
        "import os\nfrom azinfer.core import InferenceClient\n"
        "InferenceClient('https://x', os.environ[\"AZURE_API_KEY\"])"
        '.complete(model="m", messages=[])\n'
    )
    mixed = after("import litellm\n" + settings + azure + other)
    assert settings in mixed
    assert "InferenceClient('https://x'" in mixed
    assert problems("import litellm\n" + settings + azure + other) == []


def test_unused_imports_of_old_packages_are_removed() -> None:
    program = (
        "import os\nimport openai\nfrom openai import AzureOpenAI, OpenAI, RateLimitError\n"
        "from azure.core.credentials import AzureKeyCredential\nAzureOpenAI()\n"
    )
    assert after(program) == (
        "import os\nfrom azinfer.core import InferenceClient\nInferenceClient()\n"
    )


@pytest.mark.parametrize(
    "kept",
    [
        "from openai import APIError as APIError\n",
        "from openai import APIError  # noqa: F401\n",
        "from openai import APIError\n__all__ = ['APIError']\n",
        "from openai import lib\npatch('lib.azure')\n",
        "try:\n    import openai.cli\nexcept ImportError:\n    has_cli = False\n",
    ],
)
def test_imports_for_others_stay(kept: str) -> None:
    assert kept in after("from openai import AzureOpenAI\nAzureOpenAI()\n" + kept)


@pytest.mark.parametrize(
    ("imports", "error"),
    [
        ("import openai as o", "o.RateLimitError"),
        ("from openai import RateLimitError", "RateLimitError"),
        ("from openai import RateLimitError as Limited", "Limited"),
        ("from openai._exceptions import RateLimitError", "RateLimitError"),
        ("import openai", "openai.RateLimitError"),
    ],
)
@pytest.mark.parametrize("client", ["AzureOpenAI()", "OpenAI(base_url='https://x.azure.com')"])
def test_errors_are_followed_under_every_name(imports: str, error: str, client: str) -> None:
    program = (
        f"{imports}\nfrom openai import AzureOpenAI, OpenAI\nclient = {client}\n"
        f"try:\n    client.embeddings.create(input='a')\nexcept ({error}, ValueError):\n    pass\n"
    )
    assert "except (RateLimitError, ValueError)" in after(program)
    assert "from azinfer.core import InferenceClient, RateLimitError\n" in after(program)
    assert "openai" not in after(program)


def test_errors_of_clients_that_stay_are_left_alone() -> None:
    caught = "try:\n    f()\nexcept openai.RateLimitError:\n    pass\n"
    foreign = "import openai\nother = openai.OpenAI()\n"
    assert after(foreign + caught) == foreign + caught
    both = foreign + "client = openai.AzureOpenAI()\n" + caught
    assert caught in after(both)
    texts = [text for _, text in problems(both)]
    assert "openai.RateLimitError stays" in texts[-1]
    assert "catch azinfer.core.RateLimitError too" in texts[-1]


def test_clients_in_parameters_without_types_are_followed() -> None:
    program = AZURE + (
        "class Bot:\n    def __init__(self, api, *, model):\n        self.api = api\n"
        "    def ask(self):\n        return self.api.embeddings.create(input='a')\n"
        "def ask(c, text):\n    return c.chat.completions.create(model='m')\n"
        "ask(client, 'a')\nBot(client, model='m').ask()\n"
    )
    assert "return self.api.embed(input='a')" in after(program)
    assert "return c.complete(model='m')" in after(program)


def test_clients_of_other_files_are_reported() -> None:
    program = (
        "from clients import client\nfrom groq import Groq\n\ndef ask(c):\n"
        "    c.chat.completions.create(model='m')\n    client.embeddings.create(input='a')\n"
        "    Groq().chat.completions.create(model='m')\n"
    )
    assert after(program) == program
    assert problems(program) == [
        (5, "chat.completions.create() stays: if its client is azinfer's now, call complete()"),
        (6, "embeddings.create() stays: if its client is azinfer's now, call embed()"),
    ]


def test_subclasses_of_clients_are_followed() -> None:
    program = (
        "from openai import AzureOpenAI\n\nclass Named(AzureOpenAI):\n    def ask(self):\n"
        "        return self.chat.completions.create(model='m')\n\nclass Own(Named):\n"
        "    def __init__(self, key):\n        super().__init__(api_key=key, api_version='1')\n\n"
        "named = Named(azure_endpoint='u', api_version='1')\nnamed.ask()\n"
        "Own('k').chat.completions.create(model='m')\n"
    )
    assert after(program) == (
        "from azinfer.core import InferenceClient\n\nclass Named(InferenceClient):\n"
        "    def ask(self):\n        return self.complete(model='m')\n\nclass Own(Named):\n"
        "    def __init__(self, key):\n        super().__init__(credential=key)\n\n"
        "named = Named(endpoint='u')\nnamed.ask()\nOwn('k').complete(model='m')\n"
    )
    assert problems(program) == []


@pytest.mark.parametrize(
    ("settings", "new"),
    [
        ("{'azure_endpoint': 'u', 'api_version': '1'}", "{\"endpoint\": 'u'}"),
        ("dict(azure_endpoint='u', api_version='1')", "dict(endpoint='u')"),
    ],
)
def test_names_in_dictionaries_of_arguments_are_rewritten(settings: str, new: str) -> None:
    program = f"from openai import AzureOpenAI\ns = {settings}\nAzureOpenAI(**s)\n"
    assert after(program).splitlines()[1:] == [f"s = {new}", "InferenceClient(**s)"]
    used = program + "print(s)\n"
    assert f"s = {settings}" in after(used)
    assert problems(used) == [
        (3, "**s is used elsewhere too: give InferenceClient a dictionary with its own names")
    ]


def test_unknown_and_ambiguous_names_in_dictionaries_are_reported() -> None:
    program = "from openai import AzureOpenAI\ns = {'websocket_base_url': 'w'}\nAzureOpenAI(**s)\n"
    assert problems(program) == [
        (2, "websocket_base_url has no equal in InferenceClient; it was removed")
    ]
    program = (
        "from openai import AzureOpenAI\nfrom langchain_openai import AzureChatOpenAI\n"
        "s = {'organization': 'o', 'timeout': 1}\nAzureOpenAI(**s)\nAzureChatOpenAI(**s)\n"
    )
    assert "'timeout': 1" in after(program)
    assert [line for line, _ in problems(program)] == [3]


def test_texts_in_f_strings_have_other_quotes() -> None:
    program = (
        "import litellm\nfrom azure.ai.inference.models import ChatRole\n"
        "print(f\"{ChatRole.USER} {litellm.completion(model='azure/m', messages=[])}\")\n"
    )
    rewritten = after(program)
    assert "f\"{'user'} {InferenceClient(os.environ['AZURE_API_BASE']" in rewritten
    compile(rewritten, "program", "exec")


def notes(program: str) -> list[tuple[int, str]]:
    return [(each.line, each.text) for each in migrate_source(program).notes]


def test_places_that_print_something_else_are_noted() -> None:
    text = "differs: azinfer has classes of its own"
    assert notes(CHAT + "print(r, f'{r.usage}')\nprint(r.id, r.choices[0].message.content)\n") == [
        (4, f"the text of an answer {text}"),
        (4, f"the text of token counts {text}"),
    ]
    assert notes("def f(**more):\n    return 1\nprint(r)\n") == []
    program = "from openai import AzureOpenAI\ndef f(**more):\n    return AzureOpenAI(**more)\n"
    assert notes(program) == [(3, "the names in **more must be arguments of InferenceClient")]


@pytest.mark.parametrize(
    ("test", "text"),
    [
        ("fake.chat.completions.create.return_value = 1", "mock complete"),
        ("fake.embeddings.create.assert_called_once()", "mock embed"),
        ("patch('bot.AzureOpenAI').start()", "bot.AzureOpenAI is an old name"),
        ("m.setattr('openai.resources.chat.Completions', 1)", "is an old name"),
    ],
)
def test_mocks_of_old_clients_are_reported(test: str, text: str) -> None:
    program = f"from bot import Bot\nfake = MagicMock()\n{test}\n"
    [(line, reason)] = problems(program)
    assert line == 3
    assert text in reason


@pytest.mark.parametrize("test", ["patch('bot.OpenAI').start()", "patch.object(bot, 'client')"])
def test_other_mocks_are_not_reported(test: str) -> None:
    assert problems(f"import bot\n{test}\n") == []


def test_arguments_that_a_function_passes_on_are_renamed() -> None:
    program = (
        "from openai import AzureOpenAI\ndef make(retries, **more):\n"
        "    return AzureOpenAI(max_retries=retries, **more)\n"
        "make(1, azure_endpoint='u', api_version='1').chat.completions.create(model='m')\n"
    )
    assert "make(1, endpoint='u').complete(model='m')" in after(program)
    assert problems(program) == notes(program) == []
    changed = program.replace("    return", "    more.setdefault('api_key', 'k')\n    return")
    text = "**more is used elsewhere too: give InferenceClient a dictionary with its own names"
    assert problems(changed) == [(4, text)]


@pytest.mark.parametrize(
    ("package", "name", "field"),
    [
        ("langchain_openai", "AzureChatOpenAI", "model_name"),
        ("langchain_azure_ai.chat_models", "AzureAIChatCompletionsModel", "model_name"),
        ("llama_index.llms.azure_openai", "AzureOpenAI", "model"),
        ("llama_index.llms.azure_openai", "AzureOpenAI", "engine"),
    ],
)
def test_settings_of_models_with_another_meaning_are_reported(
    package: str, name: str, field: str
) -> None:
    program = f"from {package} import {name}\nllm = {name}()\nllm.temperature\nllm.{field}\n"
    text = f".{field} is not the same in azinfer: .model is the deployment's name"
    assert problems(program) == [(4, text)]


@pytest.mark.parametrize(
    ("model", "new"),
    [
        ('"azure/" + name', "model=name"),
        ('"azure/gpt-" + name', 'model=("azure/gpt-" + name).removeprefix("azure/")'),
    ],
)
def test_deployments_of_litellm_may_be_added_to_a_text(model: str, new: str) -> None:
    call = "litellm.completion(model={}, messages=[])\n"
    assert new in after("import litellm\n" + call.format(model))
    program = f"import litellm\nclass A:\n    def f(self, name):\n        self.m = {model}\n"
    rewritten = after(program + "        " + call.format("self.m"))
    assert 'model=self.m.removeprefix("azure/")' in rewritten


def test_clients_in_collections_are_reported() -> None:
    program = (
        "from openai import AzureOpenAI\nclients = {n: AzureOpenAI() for n in 'ab'}\n"
        "for name, c in clients.items():\n    c.chat.completions.create(model='m')\n"
        "clients['a'].embeddings.create(input='a')\n"
    )
    stays = "stays: if its client is azinfer's now, call"
    assert problems(program) == [
        (4, f"chat.completions.create() {stays} complete()"),
        (5, f"embeddings.create() {stays} embed()"),
    ]


def test_types_of_streams_lose_the_type_of_their_chunks() -> None:
    program = (
        "from openai import AzureOpenAI, Stream\n"
        "from openai.types.chat import ChatCompletionChunk\n"
        "def f(c: AzureOpenAI) -> Stream[ChatCompletionChunk]:\n"
        "    return c.chat.completions.create(model='m', stream=True)\n"
        "for x in f(AzureOpenAI()):\n    x.choices[0].delta.content\n"
    )
    assert "-> ChatStream:" in after(program)
    assert "    x.text\n" in after(program)


def test_timeouts_of_httpx_are_reported() -> None:
    program = "from openai import AzureOpenAI\nt = httpx.Timeout(5)\nAzureOpenAI(timeout=t)\n"
    assert problems(program) == [(3, "timeout= must be seconds or an azinfer.core.Timeout")]
    assert problems(program.replace("httpx.Timeout(5)", "5")) == []


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


def test_the_command_prints_notes_and_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(CHAT + "print(r)\n")
    done = azinfer(path)
    text = "the text of an answer differs: azinfer has classes of its own"
    assert done.returncode == 0
    assert f"{path}:4: note: {text}" in done.stderr
    [record] = json.loads(azinfer(path, "--json").stdout)
    assert record["notes"] == [{"line": 4, "text": text}]


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
