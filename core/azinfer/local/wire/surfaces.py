"""The surfaces of a resource."""

from __future__ import annotations

MODELS, V1, DEPLOYMENTS, SERVERLESS = "models", "v1", "deployments", "serverless"

GITHUB, PROJECT, ARM, LOGIN = "github", "project", "arm", "login"
