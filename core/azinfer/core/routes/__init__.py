"""Routes over many deployments and endpoints, as values and pure decisions."""
