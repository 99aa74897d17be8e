"""Reranking of documents."""
