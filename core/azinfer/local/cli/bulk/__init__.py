"""Bulk commands: `azinfer embed`, `azinfer complete` and `azinfer batch`."""
