"""Management: deployments and keys in Resource Manager's form, lists, and the token endpoint."""
