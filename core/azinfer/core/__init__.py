"""The core client."""
