"""Counts as bars of HTML, which stay readable in a narrow cell and on a phone."""

from __future__ import annotations

import html
from collections.abc import Sequence


def lying(title: str, pairs: Sequence[tuple[str, int]], *, others: int = 0) -> str:
    """One bar a name, its count behind it; `others` are counted in words, whose bar would make all others short.

    >>> "and 12 others" in lying("colour", [("red", 5), ("blue", 2)], others=12)
    True
    """
    most = max((count for _, count in pairs), default=0) or 1
    rows = "".join(
        f'<div title="{html.escape(name)}: {count:,}"><span>{html.escape(name)}</span>'
        f'<i><i style="width:{100 * count / most:.1f}%"></i></i><b>{count:,}</b></div>'
        for name, count in pairs
    )
    rest = f"<p><small>and {others:,} others</small></p>" if others else ""
    return f'<figure><figcaption>{html.escape(title)}</figcaption><div class="lying">{rows}</div>{rest}</figure>'


def upright(title: str, counts: Sequence[int], least: str, largest: str) -> str:
    """A histogram of equal steps from the least to the largest value."""
    most = max(counts, default=0) or 1
    columns = "".join(f'<i title="{count:,}" style="height:{100 * count / most:.1f}%"></i>' for count in counts)
    ends = f"<div><span>{html.escape(least)}</span><span>{html.escape(largest)}</span></div>"
    return f'<figure><figcaption>{html.escape(title)}</figcaption><div class="upright">{columns}</div>{ends}</figure>'
