"""Who may ask: keys, tokens and their check."""
