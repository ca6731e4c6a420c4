"""Words, bars, legends and sheets on pictures; BGR uint8, sizes in pixels."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

INK, DIM, FAINT, GROOVE = (245, 245, 245), (205, 200, 195), (150, 145, 140), (70, 64, 60)
PAPER, ACCENT = (30, 26, 24), (60, 170, 255)
# sides of what is drawn on: words beside a frame of 64 pixels could not be read; a frame of 16 x 2048 would be enormous
SHORT_SIDE, LONG_SIDE = 360, 1280
GAP = 8  # pixels between pictures side by side


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont:
    # matplotlib's, which is wherever the frameworks are; OpenCV's own letters are ASCII strokes
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), 'fonts', 'ttf', 'DejaVuSans.ttf')), size)


@lru_cache(maxsize=256)  # names stay; of what is new in each frame, such as its time, no more than this is kept
def _letters(text: str, size: int) -> np.ndarray:
    """Coverage of a text (H, W), 0 to 255, as high as any line of its size."""
    font = _font(size)
    ascent, descent = font.getmetrics()
    mask = Image.new('L', (max(1, round(font.getlength(text)) + 1), ascent + descent))
    ImageDraw.Draw(mask).text((0, 0), text, fill=255, font=font)
    return np.asarray(mask)


def text_size(text: str, size: int) -> tuple[int, int]:
    """Width and height of a line."""
    height, width = _letters(text, size).shape
    return width, height


def put_text(image: np.ndarray, text: str, x: int, y: int, size: int, colour: Sequence[int] = INK) -> None:
    """Write a line in place, its upper left corner at (x, y); what is outside the image is left out."""
    letters = _letters(text, size)
    letters = letters[max(0, -y) :, max(0, -x) :]
    x, y = max(0, x), max(0, y)
    part = image[y : y + letters.shape[0], x : x + letters.shape[1]]
    cover = letters[: part.shape[0], : part.shape[1], None].astype(np.float32) / 255
    part[:] = (part * (1 - cover) + np.array(colour) * cover).round()


def shorten(text: str, size: int, width: int) -> str:
    """The text, or as much of it with an ellipsis as fits."""
    if text_size(text, size)[0] <= width:
        return text
    while text and text_size(f'{text}…', size)[0] > width:
        text = text[:-1]
    return f'{text.rstrip()}…'


def shade(image: np.ndarray, x: int, y: int, width: int, height: int, strength: float = 0.65) -> None:
    """Darken a rectangle in place."""
    part = image[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)]
    part[:] = (part * (1 - strength) + np.array(PAPER) * strength).astype(np.uint8)


def enlarged(image: np.ndarray, side: int = SHORT_SIDE) -> np.ndarray:
    """A copy of the image, its shorter side of at least so many pixels where the longer one has room for that."""
    scale = min(side / min(image.shape[:2]), LONG_SIDE / max(image.shape[:2]))
    if scale <= 1:
        return image.copy()
    smooth = cv2.INTER_CUBIC if scale < 3 else cv2.INTER_NEAREST  # pixels of a tiny frame are to be seen as such
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=smooth)


def unit(image: np.ndarray) -> int:
    """Size of letters for a picture."""
    return max(13, round(min(image.shape[:2]) / 25))


def caption(image: np.ndarray, text: str, x: int = 0, y: int = 0, colour: Sequence[int] = INK) -> None:
    """A line on a darkened ground, its upper left corner at (x, y), in place."""
    size = unit(image)
    text = shorten(text, size, image.shape[1] - x - 2 * size)
    width, height = text_size(text, size)
    shade(image, x, y, width + 2 * size, height + size // 2)
    put_text(image, text, x + size, y + size // 4, size, colour)


def _strip(height: int) -> tuple[int, np.ndarray]:
    """What stands beside a picture of a height, and the size of letters on it."""
    size = max(13, round(height / 25))
    return size, np.full((height, 17 * size // 2 * 2, 3), PAPER, np.uint8)


def bars(names: Sequence[str], values: Sequence[float], height: int) -> np.ndarray:
    """A strip (height, W, 3) of values from 0 to 1 as bars with their names; the first stands out."""
    size, strip = _strip(height)
    step, width = round(2.1 * size), strip.shape[1]
    for i, (name, value) in enumerate(zip(names, values)):
        y = size // 2 + i * step
        ink = INK if i == 0 else DIM
        share = f'{100 * value:.0f} %'
        space = text_size(share, size)[0]
        put_text(strip, shorten(name, size, width - 3 * size - space), size, y, size, ink)
        put_text(strip, share, width - size - space, y, size, ink)
        y, full = y + round(1.35 * size), width - 2 * size
        cv2.rectangle(strip, (size, y), (size + full, y + 3), GROOVE, -1)
        length = round(full * min(1.0, max(0.0, value)))
        if length:
            cv2.rectangle(strip, (size, y), (size + length, y + 3), ACCENT if i == 0 else FAINT, -1)
    return strip


def distinct_palette(count: int) -> list[list[int]]:
    """RGB colours that differ, also from their neighbours: hues by the golden angle, in three lightnesses."""
    colours = [colorsys.hls_to_rgb((0.11 + i * 0.618034) % 1, (0.55, 0.42, 0.68)[i % 3], 0.75) for i in range(count)]
    return [[round(255 * channel) for channel in colour] for colour in colours]


def overlay(frame: np.ndarray, mask: np.ndarray, palette: Sequence[Sequence[int]], opacity: float = 0.5) -> np.ndarray:
    """A BGR frame (H, W, 3) under a mask (H, W) uint8 in the RGB colours of a palette; void (255) stays clear."""
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = np.array(palette, np.uint8)[:, ::-1]
    painted = cv2.LUT(cv2.merge([mask] * 3), colours[None])
    blend = cv2.addWeighted(frame, 1 - opacity, painted, opacity, 0)
    void = mask == 255
    if void.any():
        blend[void] = frame[void]
    return blend


def legend(names: Sequence[str], colours: Sequence[Sequence[int]], notes: Sequence[str], height: int) -> np.ndarray:
    """A strip (height, W, 3) with a line of RGB colour, name and note for each; what has no room is counted."""
    size, strip = _strip(height)
    step, width = round(1.7 * size), strip.shape[1]
    room = (height - size) // step
    for i, (name, colour, note) in enumerate(zip(names, colours, notes)):
        y = size // 2 + i * step
        if i == room - 1 and len(names) > room:
            put_text(strip, f'and {len(names) - i} more', size, y, size, FAINT)
            break
        cv2.rectangle(strip, (size, y + 2), (2 * size, y + size + 2), [int(c) for c in colour[::-1]], -1)
        space = text_size(note, size)[0]
        put_text(strip, shorten(name, size, width - 4 * size - space), round(2.5 * size), y, size)
        put_text(strip, note, width - size // 2 - space, y, size, FAINT)
    return strip


def segmented(
    frame: np.ndarray,
    masks: Mapping[str, np.ndarray],
    classes: Sequence[str],
    palette: Sequence[Any],
    opacity: float = 0.5,
    words: bool = True,
) -> np.ndarray:
    """The BGR frame (H, W, 3) under each of the masks (h, w), side by side, with their titles and a legend."""
    parts: list[np.ndarray] = []
    gap = np.full((len(frame), GAP, 3), PAPER, np.uint8)
    for title, mask in masks.items():
        labels = np.where((mask < 0) | (mask >= len(classes)), 255, mask).astype(np.uint8)
        large = cv2.resize(labels, frame.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        panel = overlay(frame, large, palette, opacity)
        if words:
            caption(panel, title)
        parts += [gap, panel] if parts else [panel]
    if masks and words:
        parts.append(legend_of(list(masks.values()), classes, palette, len(frame)))
    return np.hstack(parts or [frame])


def legend_of(masks: Sequence[np.ndarray], classes: Sequence[str], palette: Sequence[Any], height: int) -> np.ndarray:
    """A strip (height, W, 3) BGR with the classes of all masks (H, W), and their shares of the last one."""
    shares = {int(k): float(np.mean(masks[-1] == k)) for k in np.unique(np.stack(masks)) if 0 <= k < len(classes)}
    shown = sorted(shares, key=lambda k: -shares[k])
    notes = [f'{100 * shares[k]:.0f} %' if shares[k] >= 0.005 else '< 1 %' if shares[k] else 'missed' for k in shown]
    return legend([classes[k] for k in shown], [palette[k] for k in shown], notes, height)


def sheet(pictures: Sequence[np.ndarray], width: int = 1440, gap: int = 8) -> np.ndarray:
    """Pictures of one shape in rows, on one of about the width and with gaps between them."""
    height, wide = pictures[0].shape[:2]
    most = max(1, min(len(pictures), round((len(pictures) * height / wide) ** 0.5 + 0.4), width // 240))
    rows = -(-len(pictures) // most)
    columns = -(-len(pictures) // rows)
    scale = min(1.0, (width - gap * (columns + 1)) / columns / wide)
    cell = max(1, round(wide * scale)), max(1, round(height * scale))
    page = np.full((rows * (cell[1] + gap) + gap, columns * (cell[0] + gap) + gap, 3), PAPER, np.uint8)
    for i, picture in enumerate(pictures):
        y, x = (gap + k * (side + gap) for k, side in zip(divmod(i, columns), cell[::-1]))
        page[y : y + cell[1], x : x + cell[0]] = cv2.resize(picture, cell, interpolation=cv2.INTER_AREA)
    return page


def clock(seconds: float) -> str:
    """Minutes and seconds, as 1:05.2."""
    minutes, rest = divmod(round(seconds, 1), 60)
    return f'{minutes:.0f}:{rest:04.1f}'
