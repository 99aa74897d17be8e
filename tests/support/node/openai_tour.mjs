// openai: `OpenAI` on v1 and `AzureOpenAI` on the classic surface.
import OpenAI, { AzureOpenAI, NotFoundError } from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { ask, check, failure, key, take, url, weather } from "./tour.mjs";

const clients = {
  OpenAI: new OpenAI({ baseURL: `${url}/openai/v1`, apiKey: key, maxRetries: 0 }),
  AzureOpenAI: new AzureOpenAI({
    endpoint: url,
    apiKey: key,
    apiVersion: "2025-03-01-preview",
    maxRetries: 0,
  }),
};
const messages = [{ role: "user", content: ask }];

async function answers(client) {
  const answer = await client.chat.completions.create({ model: "fixed", messages });
  check(answer.choices[0].message.content === "Paris." && answer.usage.total_tokens > 0, answer);
}

async function streams(client) {
  const options = { stream: true, stream_options: { include_usage: true } };
  let text = "";
  let usage;
  for await (const chunk of await client.chat.completions.create({
    model: "fixed",
    messages,
    ...options,
  })) {
    text += chunk.choices[0]?.delta.content ?? "";
    usage = chunk.usage ?? usage;
  }
  check(text === "Paris." && usage.completion_tokens === 2, { text, usage });
}

async function runsTools(client) {
  const cities = [];
  const get = ({ city }) => {
    cities.push(city);
    return "Sunny";
  };
  const tool = { type: "function", function: { ...weather, function: get, parse: JSON.parse } };
  const text = await client.chat.completions
    .runTools({ model: "thinker", messages, tools: [tool] })
    .finalContent();
  check(text === "It is sunny." && cities.join() === "New York", { text, cities });
}

async function parses(client) {
  const format = zodResponseFormat(z.object({ city: z.string() }), "city");
  const answer = await client.chat.completions.parse({
    model: "mistral-large",
    messages,
    response_format: format,
  });
  check(answer.choices[0].message.parsed.city === "New York", answer);
}

async function embeds(client) {
  const answer = await client.embeddings.create({ model: "embed", input: ["a", "b"] });
  check(answer.data.every((item) => item.embedding.length === 8), answer);
}

async function responds(client) {
  const answer = await client.responses.create({ model: "fixed", input: ask });
  check(answer.output_text === "Paris.", answer);
  const following = { input: "And then?", previous_response_id: answer.id, stream: true };
  let text = "";
  for await (const event of await client.responses.create({ model: "fixed", ...following })) {
    if (event.type === "response.output_text.delta") text += event.delta;
  }
  check(text === "Paris.", text);
}

async function listsModels(client) {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  check(names.includes("fixed"), names);
}

async function reportsErrors(client) {
  const error = await failure(client.chat.completions.create({ model: "nope", messages }));
  check(error instanceof NotFoundError && error.code === "DeploymentNotFound", error);
}

const tried = { answers, streams, runsTools, parses, embeds, responds, listsModels, reportsErrors };
const steps = {};
for (const [kind, client] of Object.entries(clients)) {
  for (const [name, step] of Object.entries(tried)) steps[`${kind} ${name}`] = () => step(client);
}
await take(steps);
