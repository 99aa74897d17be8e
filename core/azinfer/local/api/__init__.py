"""The HTTP API: how a request gets from its route to its response.

`app` has the routes of every surface. `dispatch` takes a request through the common steps and
turns errors into responses; `context` is the request, `admission` finds the deployment and checks
its limits, by `deployment_lookup` and `api_versions`. `fault_injection` and `exchange_recorder` act
on responses while they are sent; `pagination` is for lists.

Each folder is a group of related operations, with the same file names for the same jobs:
`operation` has the handlers of its HTTP routes (those of files are in `batches/files`), `request`
parses and checks a body, `response` writes the wire form. May import `wire`,
`engines` and `resource`.
"""
