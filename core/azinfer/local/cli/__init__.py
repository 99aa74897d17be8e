"""The command line, `azinfer`; the only part of `azinfer.local` that uses the client.

Start in `main` (errors, exit codes, Ctrl-C) and `app` (commands and their options). Neither loads
the server or the client: each command imports what it needs when it runs.
"""
