"""Configuration: the table `[local]` of `azinfer.toml`."""
