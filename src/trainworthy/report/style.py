"""The style of HTML reports; the page reads without it."""

STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }
body { margin: 0; font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { font-size: 20px; margin: 0 0 12px; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 34px 0 8px; }
h3 { font-size: 12px; margin: 16px 0 2px; text-transform: uppercase; letter-spacing: .06em; opacity: .7; }
ul { margin: 0; padding-left: 20px; }
.verdict { margin: 0; padding: 12px 16px; border-left: 6px solid; border-radius: 4px; font-size: 18px; }
.good { border-color: #2a9d4a; background: #2a9d4a22; }
.unsure { border-color: #d99a00; background: #d99a0022; }
.numbers dd.range { font-size: 13px; opacity: .75; }
.bad { border-color: #d33a2c; background: #d33a2c22; }
.numbers { display: flex; flex-wrap: wrap; gap: 12px; margin: 14px 0 0; }
.numbers div { flex: 1 1 180px; border: 1px solid var(--line); border-radius: 6px; padding: 8px 14px; }
.numbers dt { font-size: 13px; opacity: .75; }
.numbers dd { margin: 0; font-size: 24px; font-variant-numeric: tabular-nums; }
figure { margin: 8px 0 4px; }
figcaption, .note, footer { font-size: 13px; opacity: .75; margin: 4px 0 0; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 16px; padding: 0; }
table { border-collapse: collapse; margin: 26px 0 0; width: 100%; font-size: 13px; }
caption { text-align: left; font-weight: 600; font-size: 16px; padding: 0 0 6px; }
th, td { text-align: left; padding: 3px 10px 3px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; border-bottom-width: 2px; white-space: nowrap; }
td { overflow-wrap: anywhere; }
.r { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
#findings td:first-child { white-space: nowrap; }
.total td { font-weight: 600; border-top: 2px solid var(--line); }
tbody tr:hover { background: color-mix(in srgb, currentColor 6%, transparent); }
details { margin: 8px 0; }
summary { cursor: pointer; font-size: 13px; }
pre { overflow-x: auto; padding: 10px 14px; border: 1px solid var(--line); border-radius: 6px; font-size: 13px; }
footer { margin-top: 40px; }
"""
