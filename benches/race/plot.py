"""A plot of the race: how many times the best other registry each server does, a bar each."""

from html import escape

from report import LIMIT, number, ordered

WIDTH, LEFT, RIGHT = 900, 280, 200
BAR, GAP, TOP = 13, 12, 70
# Bars longer than this are cut, and say so: one that is ten times as fast would leave nothing of the rest.
MOST = 4.0

# Of Drift, the registries in turn, and the limit: readable on white and on black.
COLOURS = {"drift": "#2f81f7", LIMIT: "#8b949e"}
OTHERS = ("#d29922", "#a371f7", "#3fb950", "#f778ba")

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.axis { stroke: #8c959f; stroke-width: 1; stroke-dasharray: 3 3 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .axis { stroke: #6e7681 } }
"""


def svg(result):
    """The works in the clear that more than one server did; without such, all that there are."""
    names = [of["name"] for of in result["servers"]]
    others = iter(OTHERS * len(names))
    colours = {name: COLOURS.get(name) or next(others) for name in names}
    rows = [row for row in result["rows"] if row["mode"] == "clear" and any("value" in of for of in row["servers"].values())]
    parts, y = [], TOP
    for row in rows:
        bars = [(name, of) for name, of in ordered(row["servers"]) if "value" in of]
        middle = y + BAR * len(bars) / 2 + 4
        parts.append(text(LEFT - 10, middle, row["title"], "end"))
        for name, of in bars:
            parts.append(bar(y, name, of, row["unit"], colours[name]))
            y += BAR
        y += GAP
    one = LEFT + scale(1)
    axis = f'<line class="axis" x1="{one}" x2="{one}" y1="{TOP - 8}" y2="{y}"/>' + text(one, TOP - 12, "the best other registry", "middle")
    legend, x = [], 20
    for name in names:
        legend.append(f'<rect x="{x}" y="32" width="11" height="11" rx="2" fill="{colours[name]}"/>' + text(x + 16, 42, name))
        x += 34 + 7.2 * len(name)
    title = "Drift and other registries" + (": tiny sizes, no figures" if result["quick"] else "")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 8}" width="{WIDTH}" height="{y + 8}" role="img" '
        f'aria-label="{escape(title)}">\n<style>{STYLE}</style>\n<text class="title" x="20" y="22">{escape(title)}</text>\n'
        + "\n".join([*legend, axis, *parts])
        + "\n</svg>\n"
    )


def scale(ratio):
    return round(min(ratio, MOST) / MOST * (WIDTH - LEFT - RIGHT), 1)


def bar(y, name, of, unit, colour):
    # With nobody to be held against, every bar is of one length, and its figure speaks.
    ratio = of["ratio"] if of["ratio"] is not None else 1
    length = max(scale(ratio), 1)
    label = f"{number(of['value']['median'])} {unit}" + (f" ({ratio:.1f} times)" if ratio > MOST else "")
    return (
        f'<rect x="{LEFT}" y="{y}" width="{length}" height="{BAR - 2}" rx="2" fill="{colour}"><title>{escape(name)}</title></rect>'
        + text(LEFT + length + 6, y + BAR - 3, label)
    )


def text(x, y, words, anchor="start"):
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(words)}</text>'
