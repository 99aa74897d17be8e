"""The network: everything in core that touches a socket."""
