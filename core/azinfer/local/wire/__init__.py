"""The wire: how bytes become values and back; it knows no deployment and no engine.

Here belongs what is the same for every operation: JSON (`json`), fields of request bodies
(`body`), tables of options (`options`), the names of surfaces (`surfaces`), and the errors that
services send, in the dialect of each surface (`errors`, `auth_errors`, `anthropic_errors`). It
may import nothing of `azinfer.local` outside this wing.
"""
