#!/usr/bin/env bash
# With LiteLLM, the prefix of the model name decides what embeddings of one Azure deployment cost.
#
# Versions: litellm 1.110.2 with openai 3.57.0, Python 3.11 (also seen with litellm 1.108.14 and
#           openai 2.54.0).
# Expected: `azure/NAME`, `azure_ai/NAME` and `openai/NAME` reach the same deployment at about the
#           same cost: they share one path and the openai SDK below it, and the caller sets no
#           encoding.
# Behaviour: with `azure/` the request says `"encoding_format": "base64"`, which is the SDK's
#           default, and the SDK decodes each vector at once. With `azure_ai/` and `openai/` the
#           field is missing from the request, because LiteLLM goes round the SDK's method for
#           embeddings. The service then answers with floats, and the SDK's `construct` visits each
#           of them in Python: three million calls for one request of 2,048 vectors with 1,536
#           numbers. The results are equal.
#           `encoding_format="base64"` is no way out: the vectors then come back as undecoded text
#           (with all three prefixes).
# Output seen (CPU seconds of the client for one request of 2,048 texts; they differ by machine):
#           azure/     base64  0.6
#           azure_ai/  missing 4.3  (7 times as much)
#           openai/    missing 4.3  (7 times as much)
#           encoding_format="base64": str, str, str
# Date: 2026-12-01
#
# Exits 0 while this is so, 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check litellm==1.110.2 openai==3.57.0

cat >"$folder/server.py" <<'PYTHON'
"""Answer embeddings as the services do: base64 if the request says so, else floats."""

import base64
import json
import struct
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FLOATS = [0.5] * 1536
BASE64 = base64.b64encode(struct.pack("<1536f", *FLOATS)).decode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *ignored):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        encoding = body.get("encoding_format", "missing")
        vector = BASE64 if encoding == "base64" else FLOATS
        answer = json.dumps(
            {
                "object": "list",
                "model": encoding,  # so that the client can see what it sent
                "data": [
                    {"object": "embedding", "index": at, "embedding": vector}
                    for at in range(len(body["input"]))
                ],
                "usage": {"prompt_tokens": 1, "total_tokens": 1},
            }
        ).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
PYTHON

cat >"$folder/cost.py" <<'PYTHON'
"""Embed the same texts by three prefixes, and compare requests, results and CPU time."""

import os
import subprocess
import sys
import time
import warnings

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm

warnings.simplefilter("ignore")
server = subprocess.Popen([sys.executable, sys.argv[1]], stdout=subprocess.PIPE, text=True)
url = f"http://127.0.0.1:{int(server.stdout.readline())}"
texts = [f"text {at}" for at in range(2048)]


def embed(prefix, texts, **options):
    return litellm.embedding(
        model=f"{prefix}/embed",
        input=texts,
        api_base=f"{url}/openai/v1" if prefix != "azure" else url,
        api_key="a-key",
        **({"api_version": "2024-10-21"} if prefix == "azure" else {}),
        **options,
    )


costs, encodings, results, kinds = {}, {}, [], []
for prefix in ("azure", "azure_ai", "openai"):
    embed(prefix, texts[:1])
    start = time.process_time()
    answer = embed(prefix, texts)
    costs[prefix] = time.process_time() - start
    encodings[prefix] = answer.model.rpartition("/")[2]
    results.append([each["embedding"] for each in answer.data])
    encoded = embed(prefix, texts[:1], encoding_format="base64")
    kinds.append(type(encoded.data[0]["embedding"]).__name__)
server.kill()
for prefix, cost in costs.items():
    times = f"  ({cost / costs['azure']:.0f} times as much)" if prefix != "azure" else ""
    print(f"{prefix + '/':10} {encodings[prefix]:7} {cost:.1f}{times}")
print('encoding_format="base64":', ", ".join(kinds))
same = (
    encodings == {"azure": "base64", "azure_ai": "missing", "openai": "missing"}
    and min(costs["azure_ai"], costs["openai"]) > 3 * costs["azure"]
    and results[0] == results[1] == results[2]
    and kinds == ["str"] * 3
)
sys.exit(0 if same else "this has changed")
PYTHON
"$folder/venv/bin/python" "$folder/cost.py" "$folder/server.py"
