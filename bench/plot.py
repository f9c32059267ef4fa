"""The figures as one picture, in SVG: bars and lines, and no more than these need."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape

from fleet import AGAIN
from issue import DURABLE_FLOOR, LAZY_FLOOR
from measure import median
from service import LOGINS, NONE

PANEL_WIDTH, PANEL_HEIGHT, GAP, COLUMNS = 470, 300, 30, 2

BLUE, PALE_BLUE, ORANGE, PALE_ORANGE = "#1a5fb4", "#99c1f1", "#c64600", "#ffbe6f"
GREEN, PALE_GREEN, GREY, PALE_GREY = "#26734d", "#a3d9b1", "#5e5c64", "#c0bfbc"
INK, FAINT = "#241f31", "#deddda"


def colours(name: str) -> tuple[str, str]:
    """Strong and pale."""
    if name.startswith("pki"):
        return BLUE, PALE_BLUE
    if name.startswith("minica"):
        return ORANGE, PALE_ORANGE
    if name.startswith("floor"):
        return GREEN, PALE_GREEN
    return GREY, PALE_GREY


@dataclass(frozen=True)
class Bar:
    label: str
    length: float
    text: str
    part: float | None = None  # drawn in the bar, which is pale then


@dataclass(frozen=True)
class Bars:
    title: str
    note: str
    bars: list[Bar]


@dataclass(frozen=True)
class Line:
    label: str
    points: list[tuple[float, float]]
    colour: str
    dashed: bool = False


@dataclass(frozen=True)
class Lines:
    """Both axes are logarithmic."""

    title: str
    note: str
    lines: list[Line]
    x_label: str
    units: Mapping[int, str] = field(default_factory=dict)  # exponent of ten -> tick on the y axis


# --- Which figures --------------------------------------------------------------------------------


def panels(figures: Mapping) -> list[Bars | Lines]:
    return [
        *(issue_panels(figures["issue"]) if "issue" in figures else ()),
        *(fleet_panels(figures["fleet"]) if "fleet" in figures else ()),
        *(ledger_panels(figures["ledger"]) if "ledger" in figures else ()),
        *(service_panels(figures["service"]) if "service" in figures else ()),
    ]


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def issue_panels(part: Mapping) -> Iterator[Bars]:
    titles = {
        "existing": "One certificate, on a root that is there",
        "fresh": "One certificate, and its root",
    }
    for kind, title in titles.items():
        bars = []
        for name, row in part[kind].items():
            if "RSA" in name:  # it would dwarf the rest
                continue
            wall, cpu = median(row["wall"]) * 1000, median(row["cpu"]) * 1000
            bars.append(Bar(name, wall, f"{number(wall)} ms, CPU {number(cpu)}", cpu))
        yield Bars(title, "pale: wall time; strong: CPU time", bars)


def fleet_panels(part: Mapping) -> Iterator[Lines]:
    styles = {
        "pki": (BLUE, False),
        AGAIN: (PALE_BLUE, False),
        DURABLE_FLOOR: (GREEN, False),
        LAZY_FLOOR: (PALE_GREEN, False),
    }
    names: dict[str, None] = {}
    for rows in part.values():
        names |= dict.fromkeys(rows)
    lines = []
    for name in names:
        points = [
            (float(size), median(rows[name]["rate"])) for size, rows in part.items() if name in rows
        ]
        colour, dashed = styles.get(name, (ORANGE, True))
        lines.append(Line(name, points, colour, dashed))
    yield Lines("Fleets", "certificates a second", lines, "hosts")


def ledger_panels(part: Mapping) -> Iterator[Lines]:
    commands = [name for name in part if name != "pki --domains"]
    if not commands:
        return
    styles = [(BLUE, False), (PALE_BLUE, False), (GREEN, False), (GREEN, True)]
    lines = [
        Line(
            name,
            [(float(size), median(row["wall"])) for size, row in part[name].items()],
            *style,
        )
        for name, style in zip(commands, styles, strict=False)
    ]
    units = {-3: "1 ms", -2: "10 ms", -1: "100 ms", 0: "1 s", 1: "10 s", 2: "100 s"}
    yield Lines("What the length of the ledger costs", "time", lines, "lines", units)


def service_panels(part: Mapping) -> Iterator[Bars]:
    login = next(iter(LOGINS))
    rows = part[login]
    order = sorted(rows, key=lambda kind: median(rows[kind]["cpu"]))
    rate = {kind: median(rows[kind]["rate"]) for kind in order}
    cpu = {kind: median(rows[kind]["cpu"]) * 1000 for kind in order}
    title = "New connections through PgBouncer"
    yield Bars(
        f"{title}, a second",
        f"verify-full, login by {login}; more is better",
        # Without TLS there are so many that the rest could not be told apart.
        [Bar(kind, rate[kind], number(rate[kind])) for kind in order if kind != NONE],
    )
    yield Bars(
        "The same: PgBouncer's CPU time for each",
        "less is better",
        [Bar(kind, cpu[kind], f"{cpu[kind]:.2f} ms") for kind in order],
    )


# --- How they are drawn ---------------------------------------------------------------------------


def text(x: float, y: float, words: str, size: int = 12, anchor: str = "start", **more: str) -> str:
    attributes = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"{attributes}>'
        f"{escape(words)}</text>"
    )


def rectangle(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height:.1f}" '
        f'fill="{colour}"/>'
    )


def stroke(x1: float, y1: float, x2: float, y2: float, colour: str, width: float = 1) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width}"/>'
    )


def heading(title: str, note: str) -> Iterator[str]:
    yield text(0, 16, title, 15, font_weight="bold")
    yield text(0, 34, note, 12, fill=GREY)


def draw_bars(panel: Bars) -> Iterator[str]:
    yield from heading(panel.title, panel.note)
    left, right, top = 175, 125, 48
    longest = max(max(bar.length, bar.part or 0) for bar in panel.bars)
    scale = (PANEL_WIDTH - left - right) / longest
    step = min(30, (PANEL_HEIGHT - top) / len(panel.bars))
    for index, bar in enumerate(panel.bars):
        y = top + index * step
        height = step * 0.7
        strong, pale = colours(bar.label)
        yield text(left - 8, y + height / 2 + 4, bar.label, 12, "end")
        yield rectangle(left, y, bar.length * scale, height, strong if bar.part is None else pale)
        if bar.part is not None:
            yield rectangle(left, y + height * 0.2, bar.part * scale, height * 0.6, strong)
        end = max(bar.length, bar.part or 0) * scale
        yield text(left + end + 6, y + height / 2 + 4, bar.text, 11)
    yield stroke(left, top - 4, left, top + step * len(panel.bars), INK)


def draw_lines(panel: Lines) -> Iterator[str]:
    yield from heading(panel.title, panel.note)
    left, right = 62, 16
    key_height = 17 * math.ceil(len(panel.lines) / 2)
    top, bottom = 48 + key_height, PANEL_HEIGHT - 38
    xs = [math.log10(x) for line in panel.lines for x, _ in line.points]
    ys = [math.log10(y) for line in panel.lines for _, y in line.points]
    low_x, high_x = math.floor(min(xs)), max(math.ceil(max(xs)), math.floor(min(xs)) + 1)
    low_y, high_y = math.floor(min(ys)), max(math.ceil(max(ys)), math.floor(min(ys)) + 1)

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + (x - low_x) / (high_x - low_x) * (PANEL_WIDTH - left - right),
            bottom - (y - low_y) / (high_y - low_y) * (bottom - top),
        )

    for exponent in range(low_x, high_x + 1):
        x, _ = place(exponent, low_y)
        yield stroke(x, top, x, bottom, FAINT)
        yield text(x, bottom + 16, f"{10**exponent:,}", 11, "middle")
    for exponent in range(low_y, high_y + 1):
        _, y = place(low_x, exponent)
        yield stroke(left, y, PANEL_WIDTH - right, y, FAINT)
        label = panel.units.get(exponent, f"{10.0**exponent:,.0f}")
        yield text(left - 6, y + 4, label, 11, "end")
    yield text(
        (left + PANEL_WIDTH - right) / 2, bottom + 32, panel.x_label, 12, "middle", fill=GREY
    )

    for index, line in enumerate(panel.lines):
        dashes = ' stroke-dasharray="5 4"' if line.dashed else ""
        places = [place(math.log10(x), math.log10(y)) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        style = f'stroke="{line.colour}" stroke-width="2.5"{dashes}'
        yield f'<polyline points="{path}" fill="none" {style}/>'
        for x, y in places:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{line.colour}"/>'
        key_x, key_y = (index % 2) * PANEL_WIDTH / 2, 52 + 17 * (index // 2)
        yield f'<line x1="{key_x}" y1="{key_y - 4}" x2="{key_x + 24}" y2="{key_y - 4}" {style}/>'
        yield text(key_x + 30, key_y, line.label, 12)


def svg(all_panels: list[Bars | Lines]) -> str:
    rows = math.ceil(len(all_panels) / COLUMNS)
    width = COLUMNS * (PANEL_WIDTH + GAP) + GAP
    height = rows * (PANEL_HEIGHT + GAP) + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="Helvetica, Arial, sans-serif" fill="{INK}">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for index, panel in enumerate(all_panels):
        x = GAP + index % COLUMNS * (PANEL_WIDTH + GAP)
        y = GAP + index // COLUMNS * (PANEL_HEIGHT + GAP)
        parts.append(f'<g transform="translate({x} {y})">')
        parts += draw_bars(panel) if isinstance(panel, Bars) else draw_lines(panel)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"
