"""Images for engines: `decoding` of files, `preprocessing` for models, `descriptors` without one.

`onnx_graph` changes the outputs of an ONNX file.
"""
