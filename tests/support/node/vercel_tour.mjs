// Vercel's AI SDK with `@ai-sdk/azure`, whose default is Responses.
import { createAzure } from "@ai-sdk/azure";
import { generateObject, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { ask as prompt, check, failure, key, take, url } from "./tour.mjs";

const azure = createAzure({ baseURL: `${url}/openai/v1`, apiKey: key });

async function answers(model) {
  const { text, usage } = await generateText({ model, prompt });
  check(text === "Paris." && usage.inputTokens > 0, { text, usage });
}

async function streams(model) {
  const parts = [];
  for await (const part of streamText({ model, prompt }).textStream) parts.push(part);
  check(parts.join("") === "Paris.", parts);
}

async function callsTools(model) {
  const cities = [];
  const inputSchema = z.object({ city: z.string() });
  const execute = async ({ city }) => {
    cities.push(city);
    return "Sunny";
  };
  const getWeather = tool({ description: "The weather in a city", inputSchema, execute });
  const options = { store: false, include: ["reasoning.encrypted_content"] };
  const { text, steps } = await generateText({
    model,
    prompt,
    stopWhen: stepCountIs(3),
    tools: { get_weather: getWeather },
    providerOptions: { azure: options, openai: options },
  });
  check(text === "It is sunny." && cities.join() === "New York", { text, cities });
  check(steps.length === 2, steps.length);
}

async function returnsObjects(model) {
  const { object } = await generateObject({ model, prompt, schema: z.object({ city: z.string() }) });
  check(object.city, object);
}

async function reportsErrors(model) {
  const error = await failure(generateText({ model, prompt, maxRetries: 0 }));
  check(error.statusCode === 404, error.message);
}

const steps = {};
for (const [wire, of] of Object.entries({ responses: azure, chat: azure.chat })) {
  steps[`${wire} answers`] = () => answers(of("fixed"));
  steps[`${wire} streams`] = () => streams(of("fixed"));
  steps[`${wire} calls tools`] = () => callsTools(of("thinker"));
  steps[`${wire} returns objects`] = () => returnsObjects(of("echo"));
  steps[`${wire} reports errors`] = () => reportsErrors(of("nothing"));
}

await take(steps);
