"""Resource Manager, lists of deployments and the token endpoint."""
