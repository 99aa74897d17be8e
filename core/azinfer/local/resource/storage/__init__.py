"""What is stored: files and batches (`file_store`), responses (`response_store`), the log."""
