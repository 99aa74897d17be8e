"""Cassettes: recorded exchanges with an upstream, and their replay."""
