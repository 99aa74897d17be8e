// Keeps the page as the endpoint is: rows of the log and limits come as rendered HTML.
"use strict";

const rows = document.querySelector("#log tbody");
const empty = document.querySelector("#empty");
const state = document.querySelector("#state");
const MOST_ROWS = 200;

function show({ id, html }) {
  const part = document.createElement("template");
  part.innerHTML = html;
  const row = part.content.firstElementChild;
  const old = document.getElementById(id);
  if (old) {
    row.querySelector("details").open = old.querySelector("details").open;
    old.replaceWith(row);
  } else {
    rows.prepend(row);
    while (rows.children.length > MOST_ROWS) rows.lastElementChild.remove();
  }
  empty.hidden = true;
}

const events = new EventSource("/_azinfer/page/events");
events.addEventListener("open", () => { state.textContent = "live"; state.className = "good"; });
events.addEventListener("error", () => { state.textContent = "not connected"; state.className = "bad"; });
events.addEventListener("entry", (event) => show(JSON.parse(event.data)));
events.addEventListener("cleared", () => { rows.replaceChildren(); empty.hidden = false; });
events.addEventListener("deployments", (event) => {
  document.querySelector("#deployments tbody").innerHTML = JSON.parse(event.data).html;
});

const form = document.querySelector("#try");
const answer = document.querySelector("#answer");
const about = document.querySelector("#about");

async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    text += part.value;
    const whole = text.split("\n\n");
    text = whole.pop();
    for (const each of whole) {
      if (each.startsWith("data: ") && each !== "data: [DONE]") yield JSON.parse(each.slice(6));
    }
  }
}

async function ask(model, content) {
  const began = performance.now();
  const response = await fetch("/openai/v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      model, messages: [{ role: "user", content }], stream: true, stream_options: { include_usage: true },
    }),
  });
  const routed = response.headers.get("x-ms-deployment-name");
  if (!response.ok) {
    answer.textContent = (await response.json()).error?.message ?? `status ${response.status}`;
    about.textContent = `status ${response.status}`;
    return;
  }
  let usage = null;
  for await (const chunk of eventsOf(response)) {
    if (chunk.error) { answer.textContent += `\n${chunk.error.message}`; continue; }
    for (const choice of chunk.choices) answer.textContent += choice.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  const tokens = usage ? `${usage.prompt_tokens} + ${usage.completion_tokens} tokens, ` : "";
  about.textContent = `routed to ${routed}, ${tokens}${Math.round(performance.now() - began)} ms`;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  answer.textContent = about.textContent = "";
  try {
    await ask(form.elements.model.value, form.elements.text.value);
  } catch (error) {
    about.textContent = `the endpoint did not answer: ${error.message}`;
  } finally {
    button.disabled = false;
  }
});
