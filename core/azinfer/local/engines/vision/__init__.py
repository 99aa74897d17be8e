"""Vision: decoding, preprocessing and describing images."""
