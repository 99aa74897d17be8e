"""Files and batches: uploads, the lines of a batch, and the worker that answers them."""
