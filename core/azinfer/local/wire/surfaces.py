"""The names of the surfaces: the ways to address deployments, and the other APIs of a resource."""

from __future__ import annotations

MODELS, V1, DEPLOYMENTS, SERVERLESS = "models", "v1", "deployments", "serverless"

# A resource's own routes for Claude and for Cohere's models.
ANTHROPIC, COHERE = "anthropic", "providers/cohere"
PROJECT, ARM, LOGIN = "project", "arm", "login"

# The wires of a conversation that a resource serves.
WIRES = ("chat", "responses", "messages")
