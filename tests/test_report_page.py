"""The page of results: HTML that parses, links that lead somewhere, nothing loaded, no stored text taken for HTML.

One test shows it to a browser, Debian's `chromium`, at the width of a telephone and of a desk.
"""

import contextlib
import dataclasses
import functools
import html
import html.parser
import http.server
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import threading
import urllib.parse

import pytest

import example_experiment
from sgdynamics import cli, experiments, plotting
from sgdynamics.experiments import _config
from sgdynamics.experiments._report import _formulas, _page, _write

VOID = {"meta", "link", "br", "img", "hr", "input"}
HOSTILE = "<script>alert(1)</script>\"'><img src=http://evil.example/x onerror=alert(1)>&amp;\x00\x1b"
CHROMIUM = shutil.which("chromium")


class Reader(html.parser.HTMLParser):
    """The elements of a page, its ids and links; an error where an element ends that was not the last to begin."""

    def __init__(self, page):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(set(names)) == len(names), f"{tag} has an attribute twice"
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> ends what is not open"

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def all(self, tag, attribute):
        return [found[attribute] for kind, found in self.elements if kind == tag and attribute in found]

    @property
    def ids(self):
        return [found["id"] for _, found in self.elements if "id" in found]


@pytest.fixture(autouse=True)
def example(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return example_experiment.install(monkeypatch)


def claim(**fields):
    return dataclasses.replace(example_experiment.claim(), **fields)


def register(name, **fields):
    """Another experiment like the example."""
    return experiments.register(dataclasses.replace(example_experiment.EXPERIMENT, name=name, **fields))


@functools.cache
def drawn():
    written = io.BytesIO()
    example_experiment.draw(example_experiment.data()).savefig(written)
    return written.getvalue()


def store(name, *claims, place=None, **overrides):
    """A result of the experiment called `name`, as a run leaves it, without the run."""
    config = _config.updated(experiments.get(name).preset("quick"), overrides)
    provenance = {"started": "2026-01-01T00:00:00+00:00", "versions": {"python": "3.11.0"}, "commit": None}
    record = experiments.Record(
        name, "tiny", _config.to_mapping(config), provenance, example_experiment.data(), claims or (claim(),)
    )
    folder = pathlib.Path("results") / (place or name)
    experiments.save(folder, record, lambda path: path.write_bytes(drawn()) and None)
    return folder


def read(folder="results", **more):
    page = experiments.write_report(folder, **more)
    return Reader(page.read_text(encoding="utf-8"))


@pytest.fixture
def several():
    """Three results: one of a paper with a printed formula that errs, a demo, one of nobody's that surprises."""
    source = "Gross et al. (2024), Eq. 2.24"
    printed = claim(id="κ/published", source=source, statement="κ is 2", expected=2.0, verdict="not reproduced")
    right = claim(id="κ", source="ours", statement="κ is 1")
    excluded = experiments.Claim.rejection("no κ/control", "ours", "κ is not 0", 1.01, 0.01, rejected=0.0, expected=1.0)
    register("gross2024/kappa", summary="the fourth moment", source=source)
    register("demo")
    register("mine/odd")
    store("gross2024/kappa", printed, right, excluded)
    store("demo")
    store("mine/odd", claim(verdict="undecided"), claim(id="x/published"))


def check(page):
    """What holds of every page."""
    assert len(set(page.ids)) == len(page.ids)
    links = page.all("a", "href")
    assert all(link.startswith("#") and urllib.parse.unquote(link[1:]) in page.ids for link in links)
    loaded = [
        found[name] for _, found in page.elements for name in ("src", "srcset", "poster", "data") if name in found
    ]
    loaded += page.all("link", "href")
    assert all(address.startswith("data:") for address in loaded)
    assert not {kind for kind, _ in page.elements} & {"script", "iframe", "object", "embed", "base", "form"}
    assert not [name for _, found in page.elements for name in found if name.startswith("on") or name == "style"]
    for image in (found for kind, found in page.elements if kind == "img"):
        assert image["alt"].strip()
    for labelled in (found for _, found in page.elements if "aria-labelledby" in found):
        assert labelled["aria-labelledby"] in page.ids


def test_the_page_is_sound_and_whole(several):
    page = read()
    check(page)
    assert page.all("html", "lang") == ["en"] and [kind for kind, _ in page.elements].count("h1") == 1
    assert [kind for kind, _ in page.elements].count("article") == len(page.all("img", "src")) == 3
    assert {"summary", "attention", "formulas", "gross2024", "demo", "other"} <= set(page.ids)
    style = _page.STYLE
    assert (
        "url(" not in style and "@import" not in style and "prefers-color-scheme" in style and "@media print" in style
    )


def test_claims_have_their_verdicts_and_surprises_are_marked(several):
    page = read()
    assert "3 experiments make 6 claims. 4 came out as expected and 2 did not." in page.text
    assert "Gross, Raulf and Räth 2024 1 3 1 1 0 0" in page.text and "All 3 6 2 1 2 0" in page.text
    assert "mine/odd : variance is undecided" in page.text and "mine/odd : x/published is reproduced" in page.text
    assert "✓ not reproduced printed, wrong: as expected" in page.text
    assert "≠ 0 holds: 1 +101.0 ✓ reproduced control: as expected" in page.text
    assert "✗ reproduced printed, wrong: not as expected" in page.text and "✗ undecided not as expected" in page.text
    assert (
        page.text.count("1.010(10)") > 6 and "3 claims, 1 of them printed and wrong, 1 control: all as exp" in page.text
    )


def test_where_nothing_surprises_the_page_says_so():
    store("example/tiny")
    assert "Nothing: every verdict is the expected one." in read().text


def test_corrected_formulas_stand_beside_what_holds(several):
    row = re.search(r"Gross et al\. \(2024\), Eq\. 2\.24 κ is 2.*?gross2024/kappa", read().text)[0]
    assert "Gross et al. (2024), Eq. 2.24 κ is 2 2 1.010(10)" in row and "✓ not reproduced" in row
    assert "κ is 1: 1 (ours; reproduced)" in row


def test_what_errs_is_listed_with_its_evidence_and_its_derivation(several):
    """All corrections to the papers that results are about, whether a claim holds them or algebra alone."""
    register("gross2024/fig2b")
    id = "factor of 1 over P/published"
    wrong = [claim(id=f"P = {P}/{id}", source="Gross et al. (2024)", verdict="not reproduced") for P in (20, 400)]
    store("gross2024/fig2b", *wrong)
    page = read()
    check(page)
    parts = [part for part in _formulas.PARTS if part.paper == "gross2024"]
    for part in parts:
        for row in part.rows:
            assert " ".join(row.printed.split()) in page.text and f"{row.entry} {part.heading}" in page.text
    listed = [name for name in page.ids if name.startswith("correction-")]
    assert len(listed) == sum(len(part.rows) for part in parts)
    assert "by algebra, and measured gross2024/fig2b : ✓ not reproduced (2 claims) K lacks its factor 1/P" in page.text
    assert "beyond/gaussianity , not on this page" in page.text
    assert "derivation: text after (2.18), Fig. 2(b), slip" in page.text  # at the claims that hold it
    assert "no entry in docs/corrections.md" in page.text  # of the claim on κ, which is none of ours
    assert page.all("a", "href").count(f"#{listed[1]}") == 2


def test_a_printed_value_that_was_reproduced_is_no_evidence(several):
    register("gross2024/fig6a")
    store("gross2024/fig6a", claim(id="mean variance/published", source="Gross et al. (2024)", verdict="reproduced"))
    assert "gross2024/fig6a : ✗ 0 of 1 not reproduced" in read().text


def test_parameters_and_the_command_are_there():
    store("example/tiny", steps=12, widths=(4, 5))
    text = read().text
    assert "sgdynamics run example/tiny --steps=12 --widths 4 5" in text
    assert (
        "inner.substeps 8" in text
        and "learning_rate 0.1" in text
        and "versions python 3.11.0" in text
        and "commit" not in text
    )


def test_pictures_say_what_is_seen(several):
    words = read().all("img", "alt")
    assert "the fourth moment. Lines: theory." in words


def test_experiments_without_a_result_and_failures_are_listed(several):
    rows = [{"name": "example/broken", "error": "ValueError: <no>"}]
    pathlib.Path("results/reproduction.json").write_text(json.dumps({"experiments": rows}))
    text = read().text
    assert "1 experiment of this version without a result here example/tiny" in text
    assert "example/broken failed when many were run the last time: ValueError: <no>" in text


# --- what is hostile, missing or damaged ------------------------------------------------------------------------


def test_nothing_that_is_stored_is_taken_for_html(monkeypatch, tmp_path):
    wrong = claim(id=f"{HOSTILE}/published", source=HOSTILE, statement=HOSTILE, note=HOSTILE, verdict="not reproduced")
    register("example/hostile", summary=HOSTILE, source=HOSTILE)
    folder = store("example/hostile", claim(id=HOSTILE, statement=HOSTILE), wrong)
    moved = folder.with_name("<b> &\"' #%2F ü")
    folder.rename(moved)
    config = json.loads((moved / "config.json").read_text())
    config["experiment"] = config["parameters"][HOSTILE] = config["provenance"]["commit"] = HOSTILE
    (moved / "config.json").write_text(json.dumps(config))
    monkeypatch.setitem(plotting.figures, "tiny", hostile_figure)
    page = read()
    check(page)
    assert page.text.count("<script>alert(1)</script>") > 8 and "<b> &\"' #%2F ü" in page.text
    written = pathlib.Path("results/report.html").read_text(encoding="utf-8")
    assert "<script" not in written and "evil" in written and "\x00" not in written and "\x1b" not in written


def hostile_figure(data):
    figure = example_experiment.draw(data)
    figure.axes[0].set(title="<script>alert(1)</script>\"'>")
    return figure


def test_letters_that_no_file_can_hold_are_replaced():
    assert _page.text("a\ud800b\x00<") == "a\ufffdb\ufffd&lt;"


def test_names_that_look_alike_have_places_of_their_own():
    for place in ("a/b", "a-b", "a b"):
        store("example/tiny", place=place)
    page = read()
    check(page)
    assert {"result-a-b", "result-a-b-2", "result-a-b-3"} <= set(page.ids)


@pytest.mark.parametrize(
    ("name", "change", "shown"),
    [
        ("config.json", lambda held: held[:-5], "config.json is no stored result"),
        ("claims.json", lambda held: held.replace(b"1.01", b"1.02"), "SHA-256"),
        ("data.nc", lambda held: held[:200] + b"x" + held[201:], "SHA-256"),
        ("data.nc", None, "data.nc is missing"),
    ],
)
def test_a_damaged_result_is_shown_as_such_and_stops_nothing(name, change, shown, several):
    path = store("example/tiny") / name
    held = path.read_bytes()
    path.unlink() if change is None else path.write_bytes(change(held))
    page = read()
    check(page)
    assert "This result cannot be read." in page.text and shown in page.text
    assert "example/tiny cannot be read" in page.text and "All 3 6 2 1 2 1" in page.text
    assert page.text.count("Claim Measured") == 3


def test_a_picture_that_is_missing_is_told(monkeypatch, several):
    monkeypatch.setitem(plotting.figures, "tiny", lambda data: data["nothing"])
    pathlib.Path("results/demo/figure.png").unlink()
    page = read()
    check(page)
    assert len(page.all("img", "src")) == 2
    assert "There is no picture in the folder, and none was drawn here: KeyError" in page.text


def test_pictures_are_taken_as_they_lie_where_nothing_is_drawn(monkeypatch, several):
    monkeypatch.setattr(plotting, "draw", None)
    pathlib.Path("results/demo/figure.png").unlink()
    page = read(drawn=False)
    check(page)
    assert len(page.all("img", "src")) == 2 and "No picture was drawn: sgdynamics plot results/demo" in page.text


def test_a_page_of_one_result_calls_it_by_its_experiment():
    """The page's folder is the result itself: "." is no name."""
    printed = claim(id="κ/published", source="Gross et al. (2024), Eq. 2.24", verdict="not reproduced")
    register("gross2024/kappa")
    store("gross2024/kappa", printed).rename("one result")
    page = read("one result")
    check(page)
    assert "result-gross2024-kappa" in page.ids and page.all("a", "href").count("#result-gross2024-kappa") >= 2
    headings = re.findall(r"<h3[^>]*>(.*?)</h3>", pathlib.Path("one result/report.html").read_text(encoding="utf-8"))
    assert "gross2024/kappa" in headings
    assert "sgdynamics run gross2024/kappa --out='one result'" in page.text


def test_two_results_of_one_name_keep_places_of_their_own():
    """One is the page's folder, the other lies below it where its name says."""
    store("example/tiny", place=".")
    store("example/tiny")
    page = read()
    check(page)
    assert [one for one in page.ids if one.startswith("result-") and not one.endswith("-title")] == [
        "result-", "result-example-tiny"
    ]  # fmt: skip


def test_the_command_says_where_the_result_goes_unless_that_is_the_usual_folder(monkeypatch, tmp_path):
    store("example/tiny")
    store("example/tiny", place="else where", steps=12)
    text = read().text
    assert "sgdynamics run example/tiny Param" in text
    assert "sgdynamics run example/tiny --steps=12 --out='results/else where' Param" in text
    assert "--out" not in read("results/example/tiny").text  # the usual one, though the page is another folder's
    monkeypatch.chdir(tmp_path / "results")
    assert "sgdynamics run example/tiny --out=example/tiny Param" in read("example/tiny").text
    monkeypatch.chdir(tmp_path / "results/example")
    above = tmp_path.resolve() / "results/else where"
    assert f"sgdynamics run example/tiny --steps=12 --out='{above}' Param" in read("../else where").text


# --- the command line -------------------------------------------------------------------------------------------


def test_the_command_makes_the_page_from_what_is_stored(several, capsys, monkeypatch):
    monkeypatch.setattr(example_experiment, "data", None)  # nothing can be computed
    assert cli.main(["report"]) == 0
    assert re.fullmatch(r"written to results/report\.html \(0\.\d MB\)\n", capsys.readouterr().out)
    assert cli.main(["report", "results/demo", "--no-figure"]) == 0
    assert "1 experiment makes" not in capsys.readouterr().out and pathlib.Path("results/demo/report.html").is_file()


def test_the_command_refuses_a_folder_without_results(capsys):
    assert cli.main(["report", "nowhere"]) == 2
    assert "nowhere holds no stored results" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["run", "example/*"], ["reproduce"]])
def test_many_end_with_the_page(command, capsys):
    assert cli.main([*command, "--jobs", "1", "--quiet", "--out", "here"]) == 0
    assert re.search(r"written to here/report\.html \(0\.\d MB\)\n$", capsys.readouterr().out)
    check(Reader(pathlib.Path("here/report.html").read_text(encoding="utf-8")))


def test_a_page_that_is_large_is_warned_of(several, caplog, monkeypatch):
    with caplog.at_level("INFO", logger="sgdynamics"):
        read()
        size = pathlib.Path("results/report.html").stat().st_size
        assert [line.levelname for line in caplog.records] == ["INFO"] and "3 experiments, 0.1 MB" in caplog.text
        monkeypatch.setattr(_write, "MOST_BYTES", size - 9)  # the time of day may be a letter longer
        read()
    assert "report.html has 0.1 MB, more than" in caplog.text and caplog.records[-1].levelname == "WARNING"


# --- a browser --------------------------------------------------------------------------------------------------

SHOWN = """<!DOCTYPE html><title>measured</title><pre id="told"></pre><script>
const widths = [400, 1600], told = [];
for (const width of widths) {
  const frame = document.createElement("iframe");
  frame.style = `border: 0; width: ${width}px; height: 800px`;
  frame.src = "PAGE";
  // by then every picture is there or has failed; decode() of many would wait for ever in virtual time
  frame.onload = () => {
    const page = frame.contentDocument, root = page.documentElement;
    const images = [...page.images];
    told.push({
      width: frame.contentWindow.innerWidth, room: root.clientWidth, scroll: root.scrollWidth,
      images: images.filter(image => image.naturalWidth > 0).length,
      pictures: Math.max(0, ...images.map(image => image.parentElement.getBoundingClientRect().right)),
    });
    document.getElementById("told").textContent = JSON.stringify(told);
  };
  document.body.append(frame);
}
</script>"""


@contextlib.contextmanager
def served(folder):
    """The folder on this machine's own network: only pages of one origin may look at each other."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def browser(tmp_path, address):
    """The document at `address` as Chromium leaves it, and what it wrote to its console."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    told = ["--enable-logging=stderr", "--v=0", "--virtual-time-budget=20000", "--dump-dom"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    answer = subprocess.run(
        [CHROMIUM, *options, *told, profile, "--no-proxy-server", address], capture_output=True, text=True, timeout=240
    )
    return answer.stdout, [line for line in answer.stderr.splitlines() if ":CONSOLE" in line]


def measured(tmp_path, page):
    """How wide the page is in a window of 400 and of 1,600 pixels, and how many of its pictures can be seen."""
    (tmp_path / "results/measure.html").write_text(SHOWN.replace("PAGE", page))
    with served(tmp_path / "results") as address:
        document, console = browser(tmp_path, f"{address}/measure.html")
    told = re.search(r'<pre id="told">(.*?)</pre>', document)[1]
    return sorted(json.loads(told), key=lambda one: one["width"]), console


@pytest.mark.long
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")
def test_a_browser_shows_it_on_a_telephone_and_on_a_desk(several, tmp_path):
    long_word = "x" * 300
    register("mine/wide", summary=long_word)
    long = claim(id=long_word, statement=long_word, note=" ".join(["words"] * 200))
    store("mine/wide", long, widths=tuple(range(300)))
    experiments.write_report("results")
    found, console = measured(tmp_path, "report.html")
    assert [one["width"] for one in found] == [400, 1600] and console == []
    for one in found:
        assert (
            one["scroll"] <= one["room"] <= one["width"] and one["images"] == 4 and one["pictures"] <= 1 + one["room"]
        )
    document, console = browser(tmp_path, (tmp_path / "results/report.html").as_uri())
    assert "What the numbers say" in document and console == []
    # what must be seen: a page that is too wide, and one that would load something
    page = (tmp_path / "results/report.html").read_text(encoding="utf-8")
    worse = page.replace("<main>", '<main><div class="wider"></div><img src="http://localhost/x.png" alt="x">')
    (tmp_path / "results/worse.html").write_text(
        worse.replace("<style>", "<style>.wider { width: 2000px; height: 9px }")
    )
    found, console = measured(tmp_path, "worse.html")
    assert [one["scroll"] > one["width"] for one in found] == [True, True]
    assert any("Content Security Policy" in line for line in console)


# --- real results -----------------------------------------------------------------------------------------------

# of different papers and kinds of figures, in small
REAL = {
    "gross2024/fig2a": {
        "ratios": (1.5, 3.0, 6.0, 10.0, 20.0), "samples": 60, "large": 6.0, "inputs": (5, 8, 12), "realisations": 300,
    },
    "gross2024/fig2b": {"samples": (20, 400), "inputs": 5, "realisations": 400, "points": 10},
    "kunin2023/potentials": {"burn_in": 200, "steps": 400, "lags": (4, 16), "replicas": 2048},
    "beyond/sweep": {"learning_rates": (0.3, 1.5), "momenta": (0.0, 0.5), "samples": 20, "inputs": 2, "replicas": 256},
}  # fmt: skip

STORED = os.environ.get("SGDYNAMICS_RESULTS")
"""A folder of stored results to look at in place of these, such as all that `sgdynamics reproduce` has left."""

MOST_EACH = 15e6 / 78  # bytes of the page of all, shared out


def real_results(folder):
    """Results of real experiments in `folder`: the records, by where they lie."""
    if STORED:
        shutil.copytree(STORED, folder, ignore=shutil.ignore_patterns("*.run", ".*", "report.html"))
    for name, fields in {} if STORED else REAL.items():
        experiment = experiments.get(name)
        config = dataclasses.replace(experiment.preset("quick"), **fields)
        experiments.execute(experiments.plan(experiment, config, out=folder / name), experiments.Silence())
    return {place: experiments.load(folder / place) for place in _write.places(folder)}


def articles(page):
    """The HTML of each result on a page, by where it lies."""
    parts = re.findall(r"<article .*?</article>", page, flags=re.DOTALL)
    return {html.unescape(re.search(r"<h3 [^>]*>(.*?)(?: of <code>.*)?</h3>", part)[1]): part for part in parts}


@pytest.mark.longest
@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")
def test_the_page_of_real_results(monkeypatch, tmp_path):
    monkeypatch.undo()  # the registry of this version
    records = real_results(tmp_path / "results")
    path = experiments.write_report(tmp_path / "results")
    assert path.stat().st_size <= MOST_EACH * len(records)
    written = path.read_text(encoding="utf-8")
    page = Reader(written)
    check(page)
    alternatives, shown = page.all("img", "alt"), articles(written)
    assert set(shown) == set(records)
    assert len(alternatives) == len(set(alternatives)) == len(records)
    for place, record in records.items():
        assert shown[place].count("<img ") == 1, place
        words = re.search(r'<img [^>]*alt="([^"]*)"', shown[place])[1]
        summary = experiments.get(record.experiment).summary
        assert len(html.unescape(words)) > len(summary) + 40, f"{place}: {words}"
        rows = re.findall(r"<tr>.*?</tr>", shown[place], flags=re.DOTALL)
        for claim in record.claims:
            row = [row for row in rows if f'<th scope="row"><code>{_page.text(claim.id)}</code>' in row]
            assert len(row) == 1 and re.search(f">[✓✗] {claim.verdict}</", row[0]), f"{place}, {claim.id}"
        assert f"<code>sgdynamics run {record.experiment}" in shown[place], place
        named = re.findall(r'<th scope="row"><code>([^<.]*)[^<]*</code>', shown[place].partition("<details>")[2])
        assert set(record.parameters) <= set(named), place
    printed = [(record.experiment, claim) for record in records.values() for claim in record.claims]
    printed = [(name, claim) for name, claim in printed if claim.id.endswith("/published")]
    without = [f"{name}: {claim.id}" for name, claim in printed if _formulas.correction(name, claim) is None]
    assert without == []
    found, console = measured(tmp_path, "report.html")
    assert [one["width"] for one in found] == [400, 1600] and console == []
    for one in found:
        assert one["scroll"] <= one["room"] <= one["width"] and one["images"] == len(records)
        assert one["pictures"] <= 1 + one["room"]
