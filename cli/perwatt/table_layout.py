"""Layout of a table: aligned columns, those that fit the terminal, and the colours of a verdict."""

from collections.abc import Collection, Sequence

from perwatt.terminal import PLAIN, Terminal

_VERDICT = ("valid", "reasons")
"""Columns that leave a narrow table last."""


def too_wide(
    titles: Sequence[str], rows: Sequence[Sequence[str]], kept: Collection[str], terminal: Terminal
) -> list[str]:
    """The columns to leave out so that the table fits: from the right, a verdict last, and *kept* never."""
    if terminal.width is None:
        return []
    widths = {
        title: max(len(title), *(len(row[place]) for row in rows)) + 2 for place, title in enumerate(titles)
    }
    hidden: list[str] = []
    for title in (*(one for one in reversed(titles) if one not in _VERDICT), *reversed(_VERDICT)):
        if sum(widths.values()) - 2 <= terminal.width:
            break
        if title in widths and title not in kept:
            hidden.insert(0, title)
            del widths[title]
    return hidden


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]], terminal: Terminal = PLAIN) -> str:
    """Columns two spaces apart, those with numbers to the right."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [any(map(_is_number, column[1:])) for column in columns]
    lines = [
        "  ".join(
            _coloured(title, _pad(*cell), terminal)
            for title, cell in zip(header, zip(row, widths, right, strict=True), strict=True)
        ).rstrip()
        for row in rows
    ]
    head = "  ".join(map(_pad, header, widths, right)).rstrip()
    return "\n".join([terminal.bold(head), *lines])


def _coloured(title: str, cell: str, terminal: Terminal) -> str:
    """A verdict in its colour; the padding stays outside of it, so that lines can be stripped."""
    text = cell.strip()
    if title not in ("valid", "up", "MFU valid") or text not in ("yes", "no"):
        return cell
    return cell.replace(text, terminal.green(text) if text == "yes" else terminal.red(text))


def _pad(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()
