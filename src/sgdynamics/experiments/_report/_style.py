"""The look of the page of results: one column, light or dark as the reader's system has it, and on paper."""

STYLE = """\
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --faint: #57606a; --line: #d0d7de; --shade: #f4f6f8;
  --link: #0b57a4; --good: #0a6b47; --odd: #a83200; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14181d; --ink: #e4e8ec; --faint: #a3adb8; --line: #39424d; --shade: #1e242b; --link: #7ab8f5;
    --good: #5fd3a4; --odd: #ff9e6d; }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
body { margin: 0 auto; padding: 0 1rem 4rem; max-width: 92rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 2rem 0 .5rem; }
h2 { font-size: 1.5rem; line-height: 1.25; margin: 3rem 0 .75rem; border-bottom: 2px solid var(--line); }
h3 { font-size: 1.2rem; margin: 0 0 .25rem; }
h4 { font-size: 1rem; margin: 1rem 0 .25rem; }
p, ul { max-width: 46rem; }
p { margin: .5rem 0; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.skip { position: absolute; left: -100vw; }
.skip:focus { left: 1rem; top: .5rem; background: var(--paper); padding: .25rem .5rem; }
nav ul, .experiments { list-style: none; padding: 0; max-width: none; display: flex; flex-wrap: wrap;
  gap: .25rem 1.25rem; }
code, pre { font: .9em/1.45 ui-monospace, monospace; }
pre { margin: .25rem 0; padding: .6rem .75rem; overflow-x: auto; background: var(--shade); border-radius: 4px; }
article { margin: 2.5rem 0; padding-top: 1.25rem; border-top: 1px solid var(--line); }
article, section { scroll-margin-top: .5rem; }
.source, small { color: var(--faint); }
figure { margin: 1rem 0; }
.picture { overflow-x: auto; background: #fff; border: 1px solid var(--line); border-radius: 4px; padding: .5rem;
  width: fit-content; max-width: 100%; }
.picture img { display: block; width: auto; max-width: 100%; height: auto; max-height: 90vh; }
@media (max-width: 44rem) { .picture img { max-width: none; max-height: none; width: 44rem; } }
.wide { overflow-x: auto; max-width: 100%; margin: .75rem 0; border: 1px solid var(--line); border-radius: 4px; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; min-width: 100%; }
th, td { padding: .4rem .6rem; text-align: left; vertical-align: top; border-top: 1px solid var(--line); }
thead th { border-top: 0; background: var(--shade); white-space: nowrap; }
tbody th { font-weight: normal; min-width: 11rem; }
td:not(.number) { min-width: 8.5rem; }
td ul { margin: 0; padding-left: 1rem; min-width: 12rem; }
.number { text-align: right; white-space: nowrap; }
.good { color: var(--good); white-space: nowrap; }
.odd { color: var(--odd); white-space: nowrap; }
.missing { padding: .5rem .75rem; border-left: 4px solid var(--odd); background: var(--shade); }
details { margin: .75rem 0; }
summary { cursor: pointer; color: var(--link); }
@media screen and (max-width: 44rem) {
  .wide { border: 0; }
  .wide table, .wide tbody, .wide tr, .wide th, .wide td { display: block; }
  .wide thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .wide tbody tr { border: 1px solid var(--line); border-radius: 4px; margin: .75rem 0; padding: .25rem 0; }
  .wide tbody th, .wide td { border: 0; min-width: 0; padding: .2rem .6rem; text-align: left; white-space: normal;
    overflow-wrap: anywhere; }
  .wide td[data-label] { position: relative; padding-left: 9rem; min-height: 1.75rem; }
  .wide td[data-label]::before { content: attr(data-label); position: absolute; left: .6rem; color: var(--faint); }
  .wide td ul { min-width: 0; }
}
@media print {
  :root { --paper: #fff; --ink: #000; --faint: #444; --line: #bbb; --shade: #f4f4f4; --link: #000; --good: #000;
    --odd: #000; }
  body { max-width: none; padding: 0; font-size: 9pt; }
  nav, .skip, .experiments, footer { display: none; }
  .wide, .picture, pre { overflow: visible; border: 0; white-space: normal; }
  pre { white-space: pre-wrap; }
  details::details-content { content-visibility: visible; block-size: auto; }
  figure, tr { break-inside: avoid; }
  h2, h3, h4 { break-after: avoid; }
  .picture img { width: auto; max-width: 100%; max-height: 18cm; }
}
"""
