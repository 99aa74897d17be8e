"""Embeddings of texts and images: operations, requests and responses."""
