"""Cassettes: exchanges with an upstream, recorded to a file (`cassette`) and replayed.

`exchanges` says which requests are equal, `transports` sit between an upstream engine and HTTP.
"""
