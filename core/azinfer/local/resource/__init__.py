"""The resource: deployments, their limits, filters, faults, and the state of one endpoint."""
