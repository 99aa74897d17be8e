"""The resource: what one endpoint has and remembers between requests.

Here belongs the state that requests read and change: deployments (`deployment`, `registry`), their
`rate_limits`, `content_filter`, `faults`, `latency` and `overrides` at run time, what differs
between `model_families` and `claude_models`, the simulated `prompt_cache`, state that only this
resource can read (`sealing`), who may send requests (`auth`), what is stored (`storage`), and
`background_tasks`. `state` puts it all together. It knows no HTTP route. May import `wire` and
`engines`.
"""
