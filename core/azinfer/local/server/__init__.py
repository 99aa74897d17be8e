"""The server: address, limits of uvicorn, certificates."""
