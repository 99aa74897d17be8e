"""JSON Schema for engines: `validation` of schemas and values, `regex` for patterns.

`grammar` narrows a schema to what llama.cpp enforces; `sample` makes a value that conforms.
"""
