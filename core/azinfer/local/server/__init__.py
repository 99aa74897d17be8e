"""The server: the socket and TLS below the API.

Here belongs what uvicorn needs: the `address` to listen on, limits of connections and a server for
a thread (`uvicorn_setup`), and certificates for https (`certificate_authority`). May import `wire`,
`engines`, `resource` and `api`.
"""
