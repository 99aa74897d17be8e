// A tour of a client on Node: `node openai_tour.mjs URL KEY` prints each step and what failed of it.
export const [url, key] = process.argv.slice(2);
export const ask = "How is the weather in New York?";
export const parameters = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};
export const weather = { name: "get_weather", description: "The weather in a city", parameters };

export function check(condition, result) {
  if (!condition) throw new Error(`unexpected: ${JSON.stringify(result)}`);
}

export async function failure(work) {
  try {
    await work;
  } catch (error) {
    return error;
  }
  throw new Error("no error");
}

export async function take(steps) {
  const went = {};
  for (const [name, step] of Object.entries(steps)) {
    try {
      await step();
      went[name] = null;
    } catch (error) {
      went[name] = `${error.stack} ${error.responseBody ?? ""}`;
    }
  }
  console.log(JSON.stringify(went));
}
