#!/usr/bin/env bash
# With crewai's streamed Responses API, agents never call their tools, and what the model wrote
# before the call becomes the task's result.
#
# Versions: crewai 1.15.30, openai 2.54.0, Python 3.11.
# Expected: `LLM(api="responses", stream=True)` gives a crew what `stream=False` gives: the model's
#           function call is run, its result goes back to the model, and the task ends with the
#           answer. Chat completions do so, whole and streamed.
# Behaviour: the function call of a streamed response is collected and then dropped, because the
#           crew runs tools itself and passes no functions to the client; only the whole response
#           hands the calls back to the crew. The crew ends after one request with exit code 0 and
#           no warning: its result is the model's "I will look it up." A model that writes nothing
#           before the call gives an empty result, which does raise.
# Output seen:
#           completions, whole: 1 tool call, 2 requests, result "It is sunny."
#           completions, streamed: 1 tool call, 2 requests, result "It is sunny."
#           responses, whole: 1 tool call, 2 requests, result "It is sunny."
#           responses, streamed: 0 tool calls, 1 request, result "I will look it up."
# Date: 2026-12-01
#
# Exits 0 while this is so, 1 when it has changed. crewai and its packages are about 800 MB.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check \
    crewai==1.15.30 openai==2.54.0

cat >"$folder/run.py" <<'PYTHON'
"""Run one crew with a small server that answers as OpenAI's API does, in four ways."""

import json
import os
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

os.environ |= {"CREWAI_DISABLE_TELEMETRY": "true", "OTEL_SDK_DISABLED": "true"}
os.environ |= {"CREWAI_TRACING_ENABLED": "false"}
warnings.simplefilter("ignore")

from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool

BEFORE, AFTER = "I will look it up.", "It is sunny."
ARGUMENTS = '{"city": "Rome"}'
requests = calls = 0


def chat(answered):
    """The chunks of a chat completion: a call, or the answer."""
    call = {"id": "call_1", "type": "function"}
    call["function"] = {"name": "get_weather", "arguments": ARGUMENTS}
    delta = {"role": "assistant", "content": AFTER if answered else BEFORE}
    if not answered:
        delta["tool_calls"] = [{"index": 0, **call}]
    return delta, "stop" if answered else "tool_calls"


def whole_chat(answered):
    message, reason = chat(answered)
    choice = {"index": 0, "message": message, "finish_reason": reason}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    head = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    return {**head, "choices": [choice], "usage": usage}


def chat_events(answered):
    delta, reason = chat(answered)
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    for each, end in ((delta, None), ({}, reason)):
        yield {**head, "choices": [{"index": 0, "delta": each, "finish_reason": end}]}


def whole_response(answered):
    text = {"type": "output_text", "text": AFTER if answered else BEFORE, "annotations": []}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
    output = [{**message, "content": [text]}]
    if not answered:
        call = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "status": "completed"}
        output.append({**call, "name": "get_weather", "arguments": ARGUMENTS})
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    usage |= {"input_tokens_details": {"cached_tokens": 0}}
    usage |= {"output_tokens_details": {"reasoning_tokens": 0}}
    head = {"id": "resp_1", "object": "response", "created_at": 1, "status": "completed"}
    rest = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    return {**head, **rest, "model": "m", "output": output, "usage": usage}


def response_events(answered):
    response = whole_response(answered)
    yield {"type": "response.created", "response": {**response, "output": []}}
    for at, item in enumerate(response["output"]):
        place = {"output_index": at, "item_id": item["id"]}
        yield {"type": "response.output_item.added", "output_index": at, "item": item}
        if item["type"] == "message":
            text = item["content"][0]["text"]
            delta = {"content_index": 0, "delta": text, "logprobs": []}
            yield {"type": "response.output_text.delta", **place, **delta}
        else:
            delta = {"delta": ARGUMENTS}
            yield {"type": "response.function_call_arguments.delta", **place, **delta}
        yield {"type": "response.output_item.done", "output_index": at, "item": item}
    yield {"type": "response.completed", "response": response}


class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        global requests
        requests += 1
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        is_chat = self.path.endswith("/chat/completions")
        answered = "Sunny" in json.dumps(body["messages" if is_chat else "input"])
        if body.get("stream"):
            events = chat_events(answered) if is_chat else response_events(answered)
            numbered = ({**each, "sequence_number": at} for at, each in enumerate(events))
            content = "".join(f"data: {json.dumps(each)}\n\n" for each in numbered)
            content += "data: [DONE]\n\n" if is_chat else ""
        else:
            content = json.dumps((whole_chat if is_chat else whole_response)(answered))
        self.send_response(200)
        kind = "text/event-stream" if body.get("stream") else "application/json"
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content.encode())

    def log_message(self, *_):
        pass


@tool("get_weather")
def get_weather(city: str) -> str:
    """Return the weather in a city."""
    global calls
    calls += 1
    return "Sunny"


def count(number, what):
    return f"{number} {what}{'' if number == 1 else 's'}"


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/v1"
for api in ("completions", "responses"):
    for stream in (False, True):
        requests = calls = 0
        model = LLM("m", provider="openai", api=api, stream=stream, base_url=url, api_key="k")
        agent = Agent(role="Helper", goal="Help", backstory="You help.", llm=model)
        task = Task(
            description="What is the weather in Rome?",
            expected_output="The weather",
            agent=agent,
            tools=[get_weather],
        )
        result = Crew(agents=[agent], tasks=[task]).kickoff().raw
        kind = f"{api}, {'streamed' if stream else 'whole'}"
        outcome = f'{count(calls, "tool call")}, {count(requests, "request")}, result "{result}"'
        print(f"{kind}: {outcome}", file=open(3, "w", closefd=False), flush=True)
PYTHON

export HOME=$folder
seen=$("$folder/venv/bin/python" "$folder/run.py" 3>&1 >/dev/null 2>"$folder/errors") || {
    cat "$folder/errors" >&2
    exit 1
}
printf '%s\n' "$seen"
right='1 tool call, 2 requests, result "It is sunny."'
[ "$seen" = "completions, whole: $right
completions, streamed: $right
responses, whole: $right
responses, streamed: 0 tool calls, 1 request, result \"I will look it up.\"" ] || {
    echo "this has changed" >&2
    exit 1
}
