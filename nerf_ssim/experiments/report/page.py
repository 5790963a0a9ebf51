"""The report as one HTML page that holds all it shows and asks for nothing from anywhere."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence

from nerf_ssim.experiments.report.tables import Table

__all__ = ["page"]

STYLE = """
:root { color-scheme: light dark; --line: #8886; --quiet: #888; --soft: #8881; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 1360px; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p { max-width: 70ch; } .wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
thead th { border-bottom-width: 2px; } tbody tr:hover { background: var(--soft); }
.warnings { border-left: 4px solid #c80; padding: .2rem 1rem; background: var(--soft); }
.warnings li { overflow-wrap: anywhere; }
.curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 340px), 616px)); gap: 1rem; }
figure { margin: 0; } figure img { width: 100%; height: auto; background: white; }
.grid { display: grid; grid-template-columns: repeat(var(--columns), minmax(110px, 256px)); gap: 4px; }
.grid .view { grid-column: 1 / -1; margin-top: .5rem; overflow-wrap: anywhere; }
.grid img, .stage { outline: 1px solid var(--line); outline-offset: -1px; }
.grid img { width: 100%; display: block; } .name { font-size: .85rem; font-weight: 600; }
.controls { display: flex; flex-wrap: wrap; gap: .5rem 1rem; margin: .5rem 0; font-size: .9rem; }
.controls select { max-width: 15rem; font: inherit; }
.stage { position: relative; max-width: 640px; } .stage img { width: 100%; display: block; }
.stage .over { position: absolute; inset: 0; }
.slider input { width: 100%; max-width: 640px; }
"""
SCRIPT = """
for (const section of document.querySelectorAll('.views')) {
  const part = name => section.querySelector('.' + name);
  const range = section.querySelector('input');
  part('right').selectedIndex = Number(part('right').dataset.start);
  const source = method => [...section.querySelectorAll('.grid img')].find(image =>
    image.dataset.method === method && image.dataset.view === part('view').value &&
    image.dataset.kind === part('kind').value).src;
  const show = () => {
    part('under').src = source(part('left').value);
    part('over').src = source(part('right').value);
    part('over').style.clipPath = `inset(0 0 0 ${range.value}%)`;
  };
  for (const control of section.querySelectorAll('select, input')) control.addEventListener('input', show);
  show();
}
"""


FIRST = ("summary", "differences", "settings")
"""The tables that stand before the pictures: what the runs say, and what their names mean."""


def page(
    title: str, tables: Mapping[str, Table], figures: Mapping[str, bytes], views: str, warnings: Sequence[str]
) -> str:
    """The whole page.

    Args:
        tables: by name, in order; those of `FIRST` stand before all pictures, the others behind them.
        figures: PNG files by name.
        views: sections of pictures, as HTML.
        warnings: sentences that stand first.
    """
    listed = "".join(f"<li>{html.escape(warning)}</li>" for warning in warnings)
    first = f"<div class='warnings'><ul>{listed}</ul></div>" if warnings else ""
    drawn = "".join(
        f"<figure><img src='data:image/png;base64,{base64.b64encode(data).decode()}' alt='{name}'></figure>"
        for name, data in figures.items()
    )
    head = "".join(table.html() for name, table in tables.items() if name in FIRST)
    details = "".join(table.html() for name, table in tables.items() if name not in FIRST)
    curves = f"<section><h2>Curves</h2><div class='curves'>{drawn}</div></section>" if drawn else ""
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        "<link rel='icon' href='data:,'>"
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body><h1>{html.escape(title)}</h1>"
        f"{first}{head}{curves}{views}{details}<script>{SCRIPT}</script></body></html>\n"
    )
