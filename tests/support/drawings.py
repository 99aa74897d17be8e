"""Random pictures of things from a fixed seed: each picture of a kind looks different."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from typing import Any

from PIL import Image, ImageDraw, ImageEnhance, ImageOps

SIDE = 160
Draw = ImageDraw.ImageDraw
Colour = tuple[int, int, int]


def _house(draw: Draw, main: Colour, other: Colour) -> None:
    draw.rectangle((40, 75, 120, 140), fill=main)
    draw.polygon([(28, 78), (80, 25), (132, 78)], fill=other)
    draw.rectangle((72, 105, 90, 140), fill="black")
    for x in (48, 98):
        draw.rectangle((x, 85, x + 14, 99), fill="white", outline="black")


def _tree(draw: Draw, main: Colour, other: Colour) -> None:
    draw.rectangle((72, 95, 88, 150), fill=other)
    for x, y in ((55, 60), (80, 40), (105, 60), (68, 80), (95, 82)):
        draw.ellipse((x - 28, y - 25, x + 28, y + 25), fill=main)


def _face(draw: Draw, main: Colour, other: Colour) -> None:
    draw.ellipse((30, 25, 130, 140), fill=main)
    for x in (60, 100):
        draw.ellipse((x - 11, 60, x + 11, 76), fill="white")
        draw.ellipse((x - 5, 63, x + 5, 75), fill="black")
    draw.arc((55, 80, 105, 120), 20, 160, fill=other, width=6)
    draw.line((80, 75, 75, 95, 83, 97), fill="black", width=3)


def _car(draw: Draw, main: Colour, other: Colour) -> None:
    draw.rounded_rectangle((15, 80, 145, 115), 10, fill=main)
    draw.polygon([(40, 82), (55, 52), (105, 52), (125, 82)], fill=main)
    draw.polygon([(50, 79), (60, 58), (78, 58), (78, 79)], fill=other)
    draw.polygon([(84, 79), (84, 58), (101, 58), (113, 79)], fill=other)
    for x in (45, 115):
        draw.ellipse((x - 16, 99, x + 16, 131), fill="black")
        draw.ellipse((x - 7, 108, x + 7, 122), fill="grey")


def _flower(draw: Draw, main: Colour, other: Colour) -> None:
    draw.line((80, 75, 78, 155), fill=(20, 110, 30), width=6)
    for x, y in ((80, 35), (110, 55), (100, 90), (60, 90), (50, 55)):
        draw.ellipse((x - 20, y - 20, x + 20, y + 20), fill=main)
    draw.ellipse((64, 48, 96, 80), fill=other)


def _fish(draw: Draw, main: Colour, other: Colour) -> None:
    draw.ellipse((20, 50, 115, 110), fill=main)
    draw.polygon([(105, 80), (148, 48), (148, 112)], fill=main)
    draw.ellipse((38, 68, 50, 80), fill="white", outline="black")
    for x in (62, 78, 94):
        draw.arc((x - 20, 58, x, 102), -60, 60, fill=other, width=4)


def _boat(draw: Draw, main: Colour, other: Colour) -> None:
    draw.polygon([(20, 105), (140, 105), (118, 138), (42, 138)], fill=main)
    draw.line((80, 20, 80, 105), fill="black", width=5)
    draw.polygon([(84, 24), (84, 96), (132, 96)], fill=other)
    draw.polygon([(76, 40), (76, 96), (40, 96)], fill="white")


def _clock(draw: Draw, main: Colour, other: Colour) -> None:
    draw.ellipse((25, 25, 135, 135), fill=other, outline=main, width=9)
    for x, y in ((80, 42), (118, 80), (80, 118), (42, 80)):
        draw.rectangle((x - 3, y - 3, x + 3, y + 3), fill="black")
    draw.line((80, 80, 80, 52), fill="black", width=6)
    draw.line((80, 80, 104, 92), fill="black", width=4)


KINDS: dict[str, Callable[[Draw, Colour, Colour], None]] = {
    "house": _house,
    "tree": _tree,
    "face": _face,
    "car": _car,
    "flower": _flower,
    "fish": _fish,
    "boat": _boat,
    "clock": _clock,
}


def draw_thing(kind: str, seed: int) -> Image.Image:
    """A thing in colours, of a size and at a place that follow from the seed."""
    chance = random.Random(f"{kind} {seed}")

    def colour(low: int, high: int) -> Colour:
        red, green, blue = (chance.randint(low, high) for _ in range(3))
        return red, green, blue

    thing = Image.new("RGBA", (SIDE, SIDE))
    KINDS[kind](ImageDraw.Draw(thing), colour(0, 200), colour(40, 255))
    side = chance.randint(105, 150)
    thing = thing.rotate(chance.uniform(-12, 12), Image.Resampling.BICUBIC).resize((side, side))
    picture = Image.new("RGB", (200, 160), colour(120, 255))
    ImageDraw.Draw(picture).rectangle((0, chance.randint(100, 140), 200, 160), fill=colour(60, 255))
    picture.paste(thing, (chance.randint(0, 200 - side), chance.randint(0, 160 - side)), thing)
    return picture


def cut_and_mirrored(picture: Image.Image) -> Image.Image:
    """Most of a picture, seen in a mirror."""
    width, height = picture.size
    return ImageOps.mirror(picture.crop((width // 10, height // 12, width - width // 20, height)))


def recolour(picture: Image.Image) -> Image.Image:
    """The same, and in other colours."""
    red, green, blue = cut_and_mirrored(picture).split()
    return ImageEnhance.Contrast(Image.merge("RGB", (green, red, blue))).enhance(0.8)


def file_of(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The picture as a file."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()
