"""Chat completions and legacy completions."""
