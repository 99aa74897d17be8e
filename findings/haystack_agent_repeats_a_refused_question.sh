#!/usr/bin/env bash
# A Haystack agent with tools repeats a question that the model refuses, up to its step limit: by
# default 100 paid requests, and the words of the refusal are nowhere in the result.
#
# Versions: haystack-ai 3.4.1, openai 2.54.0, Python 3.11.
# Expected: a chat completion with `"content": null` and a `refusal` is a whole answer, as the API
#           defines it (models with structured output refuse in this way). An agent ends there, as
#           it does at a text, and the caller can read the refusal.
# Behaviour: `OpenAIChatGenerator` does not read `refusal`, so that the reply has no content at all.
#           The agent ends only at a text, at a tool that it exits on, or at `length` and
#           `content_filter`. A reply without content with the finish reason `stop` is none of
#           these, so the agent adds it to the history as an empty message and asks again, until
#           `max_agent_steps` (default: 100). The same agent without tools ends after one request.
#           In both cases the last message has the text None, the finish reason `stop` and no trace
#           of the refusal; one warning in the log names the step limit.
# Output seen:
#           text, with a tool: 1 request, exit reason text, last text "I will not help with that."
#           refusal, with a tool: 100 requests, exit reason max_agent_steps, refusal in the result: False
#           refusal, without tools: 1 request, exit reason text, refusal in the result: False
# Date: 2026-12-01
#
# Exits 0 while this is so, 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    haystack-ai==3.4.1 openai==2.54.0

cat >"$folder/run.py" <<'PYTHON'
"""Ask an agent one question three times, with a small server that answers as OpenAI's API does."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

os.environ |= {"HAYSTACK_TELEMETRY_ENABLED": "false"}

from haystack.components.agents import Agent
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.tools import create_tool_from_function
from haystack.utils import Secret

WORDS = "I will not help with that."
ANSWERS = {
    "text": {"role": "assistant", "content": WORDS, "refusal": None},
    "refusal": {"role": "assistant", "content": None, "refusal": WORDS},
}
answer = ANSWERS["text"]
requests = 0


class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        global requests
        requests += 1
        self.rfile.read(int(self.headers["content-length"]))
        choice = {"index": 0, "message": answer, "finish_reason": "stop", "logprobs": None}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        head = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
        content = json.dumps({**head, "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def get_weather(city: str) -> str:
    """Return the weather in a city."""
    return f"Sunny in {city}"


def ask(*tools):
    global requests
    requests = 0
    key = Secret.from_token("k")
    generator = OpenAIChatGenerator(api_key=key, model="m", api_base_url=url)
    agent = Agent(chat_generator=generator, tools=list(tools))
    return agent.run(messages=[ChatMessage.from_user("Help me with this.")])


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/v1"
tool = create_tool_from_function(get_weather)
for kind, tools in (("text", [tool]), ("refusal", [tool]), ("refusal", [])):
    answer = ANSWERS[kind]
    result = ask(*tools)
    about = f"{kind}, {'with a tool' if tools else 'without tools'}"
    count = f"{requests} request{'' if requests == 1 else 's'}"
    if kind == "text":
        last = f'last text "{result["last_message"].text}"'
    else:
        last = f"refusal in the result: {WORDS in repr(result)}"
    print(f"{about}: {count}, exit reason {result['exit_reason']}, {last}")
PYTHON

export HOME=$folder
seen=$("$folder/venv/bin/python" "$folder/run.py" 2>"$folder/errors") || {
    cat "$folder/errors" >&2
    exit 1
}
printf '%s\n' "$seen"
limit="exit reason max_agent_steps, refusal in the result: False"
[ "$seen" = "text, with a tool: 1 request, exit reason text, last text \"I will not help with that.\"
refusal, with a tool: 100 requests, $limit
refusal, without tools: 1 request, exit reason text, refusal in the result: False" ] || {
    echo "this has changed" >&2
    exit 1
}
