"""The smallest valid picture."""

import base64
import io

from PIL import Image


def png(shade: int = 200) -> bytes:
    """A PNG file of one grey pixel."""
    file = io.BytesIO()
    Image.new("L", (1, 1), shade).save(file, "PNG")
    return file.getvalue()


PNG = png()
DATA_URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
