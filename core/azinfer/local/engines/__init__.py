"""Engines: what turns a checked request into tokens or vectors; they know no surface."""
