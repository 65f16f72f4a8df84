"""The page with every result: experiments with their pictures and claims, and the corrections to the literature.

_write                 what a folder holds, and the page written beside it
_entries               an experiment on the page; how claims are counted and put in order
_page, _page_formulas  the page; its list of formulas
_html, _style          what both are made of
_corrections           a row for each entry of `docs/corrections.md`, by paper in `_corrections_*`
_formulas              measured claims beside these rows
"""

from sgdynamics.experiments._report._write import write_report as write_report
