// @langchain/openai: its models on chat completions and on Responses, of OpenAI and of Azure.
import { HumanMessage, ToolMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { AzureChatOpenAI, ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import { z } from "zod";
import { ask, check, failure, key, take, url } from "./tour.mjs";

const configuration = { baseURL: `${url}/openai/v1` };
const common = { apiKey: key, maxRetries: 0 };
const kinds = {
  chat: (model) => new ChatOpenAI({ model, configuration, ...common }),
  responses: (model) => new ChatOpenAI({ model, configuration, useResponsesApi: true, ...common }),
  Azure: (model) =>
    new AzureChatOpenAI({
      model,
      azureOpenAIApiKey: key,
      azureOpenAIEndpoint: url,
      azureOpenAIApiDeploymentName: model,
      azureOpenAIApiVersion: "2024-10-21",
      maxRetries: 0,
    }),
};
const schema = z.object({ city: z.string() });

async function answers(of) {
  const answer = await of("fixed").invoke(ask);
  check(answer.text === "Paris." && answer.usage_metadata.output_tokens === 2, answer);
}

async function streams(of) {
  let text = "";
  for await (const part of await of("fixed").stream(ask)) text += part.text;
  check(text === "Paris.", text);
}

async function callsTools(of) {
  const weather = tool(({ city }) => `Sunny in ${city}`, {
    name: "get_weather",
    description: "The weather in a city",
    schema,
  });
  const model = of("agent").bindTools([weather]);
  const messages = [new HumanMessage(ask)];
  const asked = await model.invoke(messages);
  const result = await weather.invoke(asked.tool_calls[0]);
  check(result instanceof ToolMessage && result.content === "Sunny in New York", asked);
  const again = await model.invoke([...messages, asked, result]);
  check(again.tool_calls[0].name === "final_answer", again);
}

async function returnsObjects(of) {
  const value = await of("mistral-large").withStructuredOutput(schema).invoke(ask);
  check(value.city === "New York", value);
}

async function reportsErrors(of) {
  const error = await failure(of("nope").invoke(ask));
  check(error.status === 404, error);
}

async function embeds() {
  const embeddings = new OpenAIEmbeddings({ model: "embed", configuration, ...common });
  const vectors = await embeddings.embedDocuments(["a", "b"]);
  check(vectors.every((vector) => vector.length === 8), vectors);
}

const steps = { embeds };
for (const [kind, of] of Object.entries(kinds)) {
  steps[`${kind} answers`] = () => answers(of);
  steps[`${kind} streams`] = () => streams(of);
  steps[`${kind} calls tools`] = () => callsTools(of);
  steps[`${kind} returns objects`] = () => returnsObjects(of);
  steps[`${kind} reports errors`] = () => reportsErrors(of);
}
await take(steps);
