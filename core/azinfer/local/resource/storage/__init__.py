"""What is kept: files, batches, responses and the request log."""
