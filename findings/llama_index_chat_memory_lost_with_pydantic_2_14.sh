#!/usr/bin/env bash
# LlamaIndex cannot save any chat memory with pydantic 2.14, and a workflow loses it with a warning.
#
# Versions: llama-index-core 0.14.25, llama-index-workflows 2.26.1, Python 3.11;
#           pydantic 2.14.4 (also 2.14.0 and 2.14.1) against 2.13.5.
# Expected: a minor release of pydantic within the range that llama-index-core allows (>=2.8)
#           changes nothing, or fails at import.
# Behaviour: importing, building and using a chat memory work. Saving it does not:
#           SimpleChatStore.persist, model_dump and ChatMemoryBuffer.to_string raise
#           PydanticSerializationError ("'index_key' is expected to be an integer or a string, got
#           'SerializationInfo(...)'"): LlamaIndex passes the SerializationInfo on as the second
#           argument of pydantic's handler, which is a key or an index; 2.13 ignored a wrong one,
#           2.14 refuses it. Context.to_dict of a workflow does not
#           raise. It leaves the memory out and warns that this "is expected", so that a program
#           which saves its context between two requests starts again with an empty conversation.
# Output seen:
#           pydantic 2.13.5: persist saved, to_string saved, context kept the conversation
#           pydantic 2.14.4: persist raised PydanticSerializationError, to_string raised
#           PydanticSerializationError, context lost the conversation
# Date: 2026-11-30
#
# Exits 0 while this is so, 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    llama-index-core==0.14.25 llama-index-workflows==2.26.1 pydantic==2.13.5

cat >"$folder/save.py" <<'PYTHON'
"""Save one conversation in three ways and say what became of it."""

import asyncio
import json
import sys
import warnings
from importlib.metadata import version

from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.storage.chat_store import SimpleChatStore
from llama_index.core.workflow import Context, StartEvent, StopEvent, Workflow, step

warnings.simplefilter("ignore")


class OneStep(Workflow):
    @step
    async def only(self, context: Context, event: StartEvent) -> StopEvent:
        return StopEvent()


def outcome(save):
    try:
        save()
    except Exception as error:
        return f"raised {type(error).__name__}"
    return "saved"


async def main(path):
    store = SimpleChatStore()
    store.set_messages("user-1", [ChatMessage(role="user", content="Olives ripen in October.")])
    memory = ChatMemoryBuffer.from_defaults(
        chat_store=store, chat_store_key="user-1", token_limit=1000, tokenizer_fn=str.split
    )
    context = Context(OneStep())
    await context.store.set("memory", memory)
    kept = "Olives" in json.dumps(context.to_dict())
    print(
        f"pydantic {version('pydantic')}: persist {outcome(lambda: store.persist(path))}, "
        f"to_string {outcome(memory.to_string)}, "
        f"context {'kept' if kept else 'lost'} the conversation"
    )


asyncio.run(main(sys.argv[1]))
PYTHON

before=$("$folder/venv/bin/python" "$folder/save.py" "$folder/chats.json")
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pydantic==2.14.4
after=$("$folder/venv/bin/python" "$folder/save.py" "$folder/chats.json")
printf '%s\n%s\n' "$before" "$after"

error="raised PydanticSerializationError"
[ "$before" = "pydantic 2.13.5: persist saved, to_string saved, context kept the conversation" ] &&
    [ "$after" = "pydantic 2.14.4: persist $error, to_string $error, context lost the conversation" ] || {
    echo "this has changed" >&2
    exit 1
}
