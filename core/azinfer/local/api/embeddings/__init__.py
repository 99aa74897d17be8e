"""Text and image embeddings."""
