"""Configuration: what `azinfer.toml` says of the local endpoint."""
