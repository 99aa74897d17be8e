"""JSON Schema: validation, regular expressions, grammars and sample values."""
