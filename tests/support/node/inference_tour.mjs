// @azure-rest/ai-inference on the models route; streams by way of `@azure/core-sse`.
import createClient, { isUnexpected } from "@azure-rest/ai-inference";
import { AzureKeyCredential } from "@azure/core-auth";
import { createSseStream } from "@azure/core-sse";
import { ask, check, key, parameters, take, url, weather } from "./tour.mjs";

const client = createClient(`${url}/models`, new AzureKeyCredential(key), {
  allowInsecureConnection: true,
});
const messages = [{ role: "user", content: ask }];

async function complete(body) {
  const answer = await client.path("/chat/completions").post({ body: { messages, ...body } });
  if (isUnexpected(answer)) throw new Error(JSON.stringify(answer.body));
  return answer.body;
}

async function answers() {
  const answer = await complete({ model: "fixed" });
  check(answer.choices[0].message.content === "Paris." && answer.usage.total_tokens > 0, answer);
}

async function streams() {
  const body = { model: "fixed", messages, stream: true };
  const answer = await client.path("/chat/completions").post({ body }).asNodeStream();
  check(answer.status === "200", answer.status);
  let text = "";
  for await (const event of createSseStream(answer.body)) {
    if (event.data === "[DONE]") break;
    for (const choice of JSON.parse(event.data).choices) text += choice.delta.content ?? "";
  }
  check(text === "Paris.", text);
}

async function callsTools() {
  const tools = [{ type: "function", function: weather }];
  const asked = (await complete({ model: "thinker", tools })).choices[0].message;
  const [call] = asked.tool_calls;
  check(JSON.parse(call.function.arguments).city === "New York", call);
  const result = { role: "tool", tool_call_id: call.id, content: "Sunny" };
  const answer = await complete({
    model: "thinker",
    tools,
    messages: [...messages, asked, result],
  });
  check(answer.choices[0].message.content === "It is sunny.", answer);
}

async function returnsJson() {
  const json_schema = { name: "city", schema: parameters, strict: true };
  const answer = await complete({
    model: "mistral-large",
    response_format: { type: "json_schema", json_schema },
  });
  check(JSON.parse(answer.choices[0].message.content).city === "New York", answer);
}

async function embeds() {
  const answer = await client
    .path("/embeddings")
    .post({ body: { model: "embed", input: ["a", "b"] } });
  check(answer.body.data.every((item) => item.embedding.length === 8), answer.body);
}

async function reportsErrors() {
  const body = { model: "nope", messages };
  const answer = await client.path("/chat/completions").post({ body });
  check(isUnexpected(answer) && answer.status === "404", answer.status);
  check(answer.body.error.code === "unknown_model", answer.body);
}

await take({ answers, streams, callsTools, returnsJson, embeds, reportsErrors });
