"""Engines: what answers behind a deployment, by turning a checked request into text or vectors.

`base` has the protocols, values and capabilities of every engine. Here belongs each kind of
engine: `synthetic`, `scripted`, `llama` (GGUF files), `onnx` (vision models), `upstream` (other
servers; its replies are read by `upstream_replies`, recorded and replayed by `cassette`), with what
they need: `weights` and `gguf_conversion` for small models, `schema` for JSON Schema, `vision` for
images. An engine knows no surface, key, limit or filter. May import `wire`.
"""
