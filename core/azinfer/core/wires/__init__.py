"""The wires: the forms in which a service takes a conversation and answers it.

azinfer has one schema of requests; a deployment takes them as chat completions, as the Responses
API or as Anthropic Messages. Each wire is a folder with the same modules: `request` encodes,
`answer` decodes a complete answer, `events` decodes a streamed one (for chat completions, the
default, `decoding` and `streaming` of core do that). All of it is pure: no wire opens a connection,
and nothing outside this folder knows what a wire's bodies look like. A wire is loaded when the
first call uses it.
"""
