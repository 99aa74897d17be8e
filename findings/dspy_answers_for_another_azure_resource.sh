#!/usr/bin/env bash
# DSPy's cache answers for another Azure resource, and LangChain's does if the URL is a variable.
#
# Versions: dspy 3.4.1 with litellm 1.110.2; langchain-openai 1.7.4 with langchain-core 1.8.3;
#           openai 3.57.0, Python 3.11.
# Expected: two Azure resources may each have a deployment "chat", of different models. A cache of
#           answers or of vectors keeps the two resources apart, whatever way the URL was given.
# Behaviour: DSPy caches by default, on disk and for all later runs of the user, for `dspy.LM` and
#           for `dspy.Embedder`. Its key has the deployment's name, the messages and the options but
#           not `api_base`. A program that moves to another resource (a second region, production
#           after test) gets the first resource's answers, and no request is sent. Vectors of two
#           embedding models mix in one index in the same way.
#           LangChain's cache (`set_llm_cache`) keeps apart `base_url=` of ChatOpenAI and both
#           ways of AzureChatOpenAI, argument and AZURE_OPENAI_ENDPOINT. It does not keep apart two
#           values of OPENAI_BASE_URL, which is how ChatOpenAI is pointed at Azure's /openai/v1
#           without a change of code.
#           A way out with DSPy: `cache=False`, `dspy.Embedder(..., caching=False)`, or another
#           folder in DSPY_CACHEDIR for each resource.
# Output seen (the resource that was asked, and the one that answered):
#           dspy.LM azure/chat                         A A, B A
#           dspy.LM openai/chat                        A A, B A
#           dspy.LM azure/chat, a new process          A A, B A
#           dspy.Embedder azure/embed                  A A, B A
#           dspy.LM azure/chat, cache=False            A A, B B
#           ChatOpenAI, base_url=                      A A, B B
#           ChatOpenAI, OPENAI_BASE_URL                A A, B A
#           AzureChatOpenAI, azure_endpoint=           A A, B B
#           AzureChatOpenAI, AZURE_OPENAI_ENDPOINT     A A, B B
# Date: 2026-12-01
#
# Exits 0 while this is so, 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    dspy==3.4.1 litellm==1.110.2 langchain-openai==1.7.4 langchain-core==1.8.3 openai==3.57.0 numpy==1.26.4

cat >"$folder/resources.py" <<'PYTHON'
"""Two resources on this machine; each says its own name, as text or as a vector."""

import base64
import json
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VECTORS = {"A": [1.0, 0.0], "B": [0.0, 1.0]}


def start(name):
    """Start a resource and return its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if "embeddings" in self.path:
                vector = VECTORS[name]
                if request.get("encoding_format") == "base64":
                    vector = base64.b64encode(struct.pack("<2f", *vector)).decode()
                data = [{"object": "embedding", "index": 0, "embedding": vector}]
                answer = {"object": "list", "data": data}
            else:
                message = {"role": "assistant", "content": name}
                choices = [{"index": 0, "finish_reason": "stop", "message": message}]
                answer = {"id": "c", "object": "chat.completion", "created": 1, "choices": choices}
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            body = json.dumps({**answer, "model": "m", "usage": usage}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"
PYTHON

cat >"$folder/in_dspy.py" <<'PYTHON'
import sys

import dspy
from resources import VECTORS, start

label, kind, model = sys.argv[1:4]
options = {"api_key": "no-key", "api_version": "2024-10-21"}


def ask(url):
    if kind == "embed":
        (vector,) = dspy.Embedder(model, api_base=url, **options)(["one text"]).tolist()
        return next(name for name, value in VECTORS.items() if value == vector)
    language_model = dspy.LM(model, api_base=url, cache=kind == "cached", **options)
    return language_model(label if kind != "cached" else "Who are you?")[0]


names = sys.argv[4].split() if len(sys.argv) > 4 else ["A", "B"]
print(f"{label:42}", ", ".join(f"{name} {ask(start(name))}" for name in names))
PYTHON

cat >"$folder/in_langchain.py" <<'PYTHON'
import os

from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_openai import AzureChatOpenAI, ChatOpenAI
from resources import start

set_llm_cache(InMemoryCache())
URLS = {name: start(name) for name in ("A", "B")}
AZURE = {"azure_deployment": "chat", "api_version": "2024-10-21", "api_key": "no-key"}


def show(label, model_of):
    names = [f"{name} {model_of(url).invoke(label).content}" for name, url in URLS.items()]
    print(f"{label:42}", ", ".join(names))


def with_variable(name, value, model):
    os.environ[name] = value
    try:
        return model()
    finally:
        del os.environ[name]


def openai_variable(url):
    return with_variable(
        "OPENAI_BASE_URL", f"{url}/openai/v1", lambda: ChatOpenAI(model="chat", api_key="no-key")
    )


def azure_variable(url):
    return with_variable("AZURE_OPENAI_ENDPOINT", url, lambda: AzureChatOpenAI(**AZURE))


show(
    "ChatOpenAI, base_url=",
    lambda url: ChatOpenAI(model="chat", base_url=f"{url}/openai/v1", api_key="no-key"),
)
show("ChatOpenAI, OPENAI_BASE_URL", openai_variable)
show("AzureChatOpenAI, azure_endpoint=", lambda url: AzureChatOpenAI(azure_endpoint=url, **AZURE))
show("AzureChatOpenAI, AZURE_OPENAI_ENDPOINT", azure_variable)
PYTHON

export LITELLM_LOCAL_MODEL_COST_MAP=True
cd "$folder"
python="$folder/venv/bin/python -W ignore"
run() { DSPY_CACHEDIR="$folder/$1" $python in_dspy.py "${@:2}" 2>"$folder/log" || { cat "$folder/log" >&2; exit 1; }; }
{
    run one "dspy.LM azure/chat" cached azure/chat
    run two "dspy.LM openai/chat" cached openai/chat
    run three "first process" cached azure/chat A >first
    run three "second process" cached azure/chat B >second
    printf '%-42s %s\n' "dspy.LM azure/chat, a new process" \
        "$(awk '{ print $3, $4 }' first), $(awk '{ print $3, $4 }' second)"
    run four "dspy.Embedder azure/embed" embed azure/embed
    run five "dspy.LM azure/chat, cache=False" fresh azure/chat
    $python in_langchain.py
} >seen
cat seen
cat >expected <<'TEXT'
dspy.LM azure/chat                         A A, B A
dspy.LM openai/chat                        A A, B A
dspy.LM azure/chat, a new process          A A, B A
dspy.Embedder azure/embed                  A A, B A
dspy.LM azure/chat, cache=False            A A, B B
ChatOpenAI, base_url=                      A A, B B
ChatOpenAI, OPENAI_BASE_URL                A A, B A
AzureChatOpenAI, azure_endpoint=           A A, B B
AzureChatOpenAI, AZURE_OPENAI_ENDPOINT     A A, B B
TEXT
diff seen expected
