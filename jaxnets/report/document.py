"""What every page has: one self-contained file with the style sheet in it, sections, pictures and texts."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxnets.data import Schema
from jaxnets.data.tokenizer import opened
from jaxnets.errors import UsageError

_STYLE = Path(__file__).with_name("style.css")
_PICTURE = 96  # pixels, the longer side of a picture at most


def check_out(out: Path | None, *, option: str = "--out") -> None:
    """Raises UsageError if a page cannot be written to `out`; None, no page, is allowed."""
    if out is not None and (out.suffix != ".html" or out.is_dir() or not out.absolute().parent.is_dir()):
        raise UsageError(f"{option} {out} is not allowed; give a file that ends in .html in a folder that is there")


def document(title: str, body: str) -> str:
    """A whole page; `body` is HTML."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{html.escape(title)}</title><style>{_STYLE.read_text()}</style></head><body>{body}</body></html>\n"
    )


def section(title: str, content: str) -> str:
    """A heading over HTML; "" where there is nothing to show."""
    return f"<section><h2>{html.escape(title)}</h2>{content}</section>" if content else ""


def grid(rows: Sequence[Sequence[str]], *, kind: str = "") -> str:
    """A table of HTML cells whose first row and first column are heads; it scrolls in a box of its own.

    kind: classes of the box: "wide" keeps the first column in sight, "tall" scrolls down as well
    """
    head = "".join(f"<th>{cell}</th>" for cell in rows[0])
    lines = [f"<tr><th>{row[0]}</th>{''.join(f'<td>{cell}</td>' for cell in row[1:])}</tr>" for row in rows[1:]]
    return f'<div class="{f"scroll {kind}".strip()}"><table><tr>{head}</tr>{"".join(lines)}</table></div>'


def picture(image: np.ndarray) -> str:
    """An image (h w c) as the address of a PNG; what is not uint8 is spread from its least to its largest value."""
    from PIL import Image

    scaled = image if image.dtype == np.uint8 else 255 * (image - image.min()) / (np.ptp(image) or 1)
    pixels = np.asarray(scaled).astype(np.uint8)
    shown = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    if max(shown.size) > _PICTURE:
        shown.thumbnail((_PICTURE, _PICTURE))
    buffer = io.BytesIO()
    shown.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def word(value: Any) -> str:
    """A value of a JSON file as a reader sees it."""
    return value if isinstance(value, str) else json.dumps(value)


def as_text(tokens: np.ndarray, schema: Schema) -> str:
    """Tokens as a reader sees them: as bytes, unless the data has a tokenizer; what is no UTF-8 becomes the replacement
    character, and a new document begins after an empty line."""
    if schema.separator is None:
        return bytes(np.asarray(tokens, np.uint8)).decode("utf-8", "replace")
    coder, parts = opened(schema.tokenizer), np.split(tokens, np.flatnonzero(tokens == schema.separator))
    return "\n\n".join(filter(None, (coder.decode(part) for part in parts)))
