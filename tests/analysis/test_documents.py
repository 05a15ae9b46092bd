"""Reports as files: equal bytes, escaped text, flags on their numbers, levels in declared order."""

import csv
import hashlib
import io
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from itrialspace_assets.analysis.protocol.study import load_study
from itrialspace_assets.analysis.reports import files, flow, mistakes
from itrialspace_assets.analysis.reports.charts import table_of_chart
from itrialspace_assets.analysis.reports.document import Chart, Estimate, Gallery, Report, Section, Table
from itrialspace_assets.analysis.reports.figures import ChartFiles, draw
from itrialspace_assets.analysis.reports.files import frame_of, write_report
from itrialspace_assets.analysis.reports.headline import headline
from itrialspace_assets.analysis.reports.level_charts import condition_section, factor_section
from itrialspace_assets.analysis.reports.levels import in_order, strata_in_order
from itrialspace_assets.analysis.reports.metric_tables import metric_sections
from itrialspace_assets.analysis.reports.page import vega
from itrialspace_assets.analysis.reports.published import published_section
from itrialspace_assets.analysis.reports.wording import footnotes, words
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.imaging.anatomy import LOBES, SIZE_BUCKETS
from tests.analysis.documents import (
    HOSTILE,
    LEVELS,
    LOCKED,
    bare,
    chart,
    curve,
    every_block,
    observations,
    png,
    rows_of,
)

STUDY = load_study(load_settings())


class Text(HTMLParser):
    """What a reader of a page sees, and the tags it is made of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.shown, self._hidden = "", False
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._hidden = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        self.shown += "" if self._hidden else data


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every block as files, with stand-ins for Vega and for drawn charts, which take seconds to start."""
    monkeypatch.setattr(files, "vega", lambda folder: "/* library */")
    monkeypatch.setattr(files, "draw", lambda chart: ChartFiles("<svg/>", b"png", b"pdf"))
    old = tmp_path / "reports/every/tables/old.csv"
    old.parent.mkdir(parents=True)
    old.write_text("of an earlier report")
    found = write_report(tmp_path, every_block())
    assert found.files == {
        str(p.relative_to(tmp_path)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in tmp_path.rglob("*")
        if p.is_file()
    }, "what was there before is gone"
    return tmp_path / "reports/every"


def test_a_page_shows_hostile_text_and_runs_none_of_it(written: Path) -> None:
    page = Text((written / "report.html").read_text())
    assert page.shown.count(HOSTILE) >= 6
    scripts = [attrs for tag, attrs in page.tags if tag == "script"]
    assert [a.get("type") for a in scripts] == ["application/json"] * 4 + [None, None], "charts, library, own"
    policy = next(a["content"] for t, a in page.tags if t == "meta" and "content" in a and "script-src" in a["content"])
    library = re.findall(r"<script>(.*?)</script>", (written / "report.html").read_text(), re.S)
    for text in library:
        digest = hashlib.sha256(text.encode()).digest()
        assert f"'sha256-{__import__('base64').b64encode(digest).decode()}'" in policy
    assert "default-src 'none'" in policy and "http" not in policy
    addresses = [a.get("src") or a.get("href") for t, a in page.tags if t in ("img", "a", "link", "script")]
    assert all(a.startswith(("data:", "#", "../")) for a in addresses if a), "nothing outside"


def test_the_charts_script_cannot_end_the_script_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "say('</script>')"
    monkeypatch.setitem(sys.modules, "vl_convert", SimpleNamespace(javascript_bundle=lambda: script))
    assert vega(tmp_path) == vega(tmp_path) == r"say('<\/script>')"


def test_flags_stand_on_their_numbers(written: Path) -> None:
    report = every_block()
    numbers = next(b for s in report.sections for b in s.blocks if isinstance(b, Table) and b.name == "numbers")
    assert footnotes(numbers) == {"fewer than 10 clusters": "a", "no negatives": "b"}
    assert "fewer than 10 clusters" not in numbers.columns
    page = (written / "report.html").read_text()
    assert re.search(r'flagged"><b>0.500</b><sup title="fewer than 10 clusters">a</sup>', page)
    assert re.search(r'flagged"><b>–</b><sup title="no negatives">b</sup>', page)
    text = (written / "report.md").read_text()
    assert "0.500 a (0.100 to 0.900, 5/10)" in text and "- a: fewer than 10 clusters" in text
    assert "– b (n 9)" in text
    rows = list(csv.DictReader(io.StringIO((written / "tables/numbers.csv").read_text())))
    assert rows[0]["AUC"] == "0.912345" and rows[0]["AUC_k"] == "38" and rows[0]["AUC_flag"] == ""
    assert rows[2]["AUC"] == "" and rows[2]["AUC_flag"] == "no negatives" and rows[2]["AUC_n"] == "9"
    assert pl.read_parquet(written / "tables/numbers.parquet").equals(frame_of(numbers))
    assert words(Estimate(0.5, 0.1, 0.9, 5, 10, "few")) == "0.500 (0.100 to 0.900, 5/10) [few]"


def test_markdown_tables_keep_their_columns(written: Path) -> None:
    text = (written / "report.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    width = [len(re.findall(r"(?<!\\)\|", line)) for line in rows]
    assert set(width) == {6, 3} and len(rows) == 2 + 3 + 2 + 40, "five columns and two; forty rows of a folded table"
    assert "20 more rows: `tables/many.csv`." in text
    assert "<script" not in text.replace("\\<", "")
    for name in re.findall(r"- `([^`]+)`$", text, re.M):
        assert (written / name).exists(), name


def test_one_name_for_two_tables_is_refused(tmp_path: Path) -> None:
    one = Table("same", ("a",), ((1,),))
    report = Report("x", "t", "q", (), (), (Section("s", (one, one)),))
    with pytest.raises(ValueError, match="one table of a name in a report, got two of same"):
        write_report(tmp_path, report)


def test_a_report_without_blocks_or_rows_still_forms(tmp_path: Path) -> None:
    empty = Table("empty", ("a", "b"), ())
    report = Report("x", "t", "q", (), (), (Section("none", ()), Section("s", (empty, Gallery("g", ())))))
    write_report(tmp_path, report)
    assert "| a | b |" in (tmp_path / "reports/x/report.md").read_text()
    assert "<script>" not in (tmp_path / "reports/x/report.html").read_text()


@pytest.mark.parametrize("made", [chart(), chart("panels", ("one", "two")), curve(), bare()], ids=lambda c: c.name)
def test_a_chart_is_valid_vega_lite_in_declared_order(made: Chart) -> None:
    import altair as alt

    kind = alt.FacetChart if "facet" in made.spec else alt.LayerChart
    kind.from_dict(made.spec)  # by the schema that Vega-Lite publishes
    lines = made.spec["title"]["text"] + made.spec["title"]["subtitle"]
    assert max(map(len, lines)) <= 72, "nothing is cut at the right edge"
    rows = made.spec["data"]["values"]
    shown = table_of_chart(made)
    assert len(shown.rows) == len(rows) and shown.columns[0] == "level"
    if made.name == "by_arm":
        x = made.spec["layer"][-1]["encoding"]["x"]
        ticks = ["lt5mm|n 12", "5_10mm|n 13", "10_15mm|n 14", "15_20mm|no negatives"]
        assert x["scale"]["domain"] == ticks
        assert {r["x"]: r["flag"] for r in rows} == {ticks[0]: "", ticks[1]: "fewer than 10 clusters", ticks[2]: ""}
        fill = made.spec["layer"][-1]["encoding"]["fill"]
        assert fill["condition"]["test"] == "datum.flag == ''" and fill["value"] == "white"
        assert "blob, 5_10mm: 0.6, limits 0.4 to 0.9, 6 of 13; fewer than 10 clusters" in made.alt


def test_levels_are_never_sorted_as_text() -> None:
    assert in_order("size_bucket", set(SIZE_BUCKETS)) == list(SIZE_BUCKETS)
    assert in_order("arm", {"gt30mm", *LEVELS}, [*LEVELS, "gt30mm"]) == [*LEVELS, "gt30mm"]
    strata = ["all", "arm=5_10mm", "arm=lt5mm", "size_bucket=>30mm", "size_bucket=5-10mm"]
    order = ["all", "arm=lt5mm", "arm=5_10mm", "size_bucket=5-10mm", "size_bucket=>30mm"]
    assert strata_in_order(strata, LEVELS) == order


def test_sections_of_made_up_answers() -> None:
    seen = observations()
    rows = rows_of(seen)
    arms = [*LEVELS, "20_30mm", "gt30mm"]
    found = {t.name: t for s in metric_sections(rows, STUDY, LOCKED, arms) for t in s.blocks if isinstance(t, Table)}
    assert [r[2] for r in found["presence_by_arm"].rows[:6]] == arms
    assert [r[2] for r in found["presence_by_size_bucket"].rows[:2]] == ["<5 mm", "5–10 mm"]
    truth = seen.filter(pl.col("reader") == "blob", pl.col("condition") == "plain", pl.col("presence") == "present")
    hits = truth.filter(pl.col("answer") == "present").height
    cell = found["presence_by_condition"].rows[0][found["presence_by_condition"].columns.index("sensitivity")]
    assert isinstance(cell, Estimate) and (cell.k, cell.n, cell.value) == (hits, 48, pytest.approx(hits / 48))
    first = headline(rows, STUDY, exploratory=False)
    assert first.standing == "primary" and headline(rows, STUDY, exploratory=True).standing == "exploratory"
    assert [n.of for n in first.blocks[0].numbers] == ["blob on tissue", "mock on tissue"]
    assert headline([], STUDY, exploratory=False).blocks[0].kind == "warning"
    published = published_section(rows).blocks[1]
    right = seen.filter(
        pl.col("answer") == pl.col("presence"), pl.col("reader") == "blob", pl.col("condition") == "bbox"
    )
    assert f"({right.height}/96)" in published.rows[0][3]


def test_small_strata_are_not_drawn_and_missing_negatives_are_said() -> None:
    few = rows_of(observations(n=24, readers=("blob",), negatives=False))
    section = factor_section(few, "size_bucket", (), STUDY, "procedural")
    assert [b.kind for b in section.blocks] == ["note"] and "fewer than 5 slices: <5 mm, 5–10 mm" in section.blocks[
        0
    ].text
    drawn = condition_section(few, STUDY, "procedural").blocks[0]
    assert drawn.title.endswith("(no negatives)")
    x = drawn.spec["layer"][-1]["encoding"]["x"]["scale"]["domain"]
    assert x == ["AUC|no negatives", "sensitivity|n 24", "specificity|no negatives"]


def test_misses_and_false_alarms_are_shared_out_and_surest_first(tmp_path: Path) -> None:
    seen = observations().with_columns(path=pl.format("{}.png", "slice_uid"))
    for uid in seen["slice_uid"].unique():
        (tmp_path / f"{uid}.png").write_bytes(png())
    settings = load_settings(output_dir=tmp_path)
    section = mistakes.mistakes_section(settings, seen)
    gallery = next(b for b in section.blocks if isinstance(b, Gallery))
    rows = next(b for b in section.blocks if isinstance(b, Table)).rows
    assert len(gallery.pictures) == mistakes.MOST and len({r[-1] for r in rows}) == mistakes.MOST, "no picture twice"
    kinds = [(r[3], r[2]) for r in rows]
    assert all(kinds.count((kind, reader)) == 3 for kind in ("miss", "false alarm") for reader in ("blob", "mock"))
    plain = seen.filter(pl.col("condition") == "plain", pl.col("presence") == "present", pl.col("answer") == "absent")
    surest = plain.filter(pl.col("reader") == "blob")["score"].min()
    assert next(r for r in rows if r[2] == "blob")[5] == surest
    assert gallery.pictures[0].page.href.startswith("../../cases/")
    (tmp_path / f"{rows[0][-1]}.png").unlink()
    assert "1 pictures are no longer in the store." in [
        getattr(b, "text", "") for b in mistakes.mistakes_section(settings, seen).blocks
    ]
    right = seen.with_columns(answer=pl.col("presence"))
    assert len(mistakes.mistakes_section(settings, right).blocks) == 1


@pytest.mark.slow
def test_equal_reports_give_equal_bytes(tmp_path: Path) -> None:
    """With the real library and real drawings; the converter orders a PDF's objects at random."""
    one, two = (write_report(tmp_path / name, every_block()) for name in ("one", "two"))
    assert one.files == two.files and len([f for f in one.files if f.endswith(".pdf")]) == 4
    assert len({draw(curve()).pdf for _ in range(8)}) == 1


def test_flow_counts_cases_by_arm_size_and_lobe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven cases: one is clean, one is not inserted, one not rendered, one of two readers answers nothing to one."""
    uids = [f"t/{i}" for i in range(7)]
    arms = ["small"] * 4 + ["big"] * 3
    nodules = {"case_uid": uids, "nodule_idx": [0] * 7, "present": [True] * 6 + [False]}
    nodules |= {"size_bucket": ["<5mm"] * 4 + [">30mm"] * 3, "lobe": [LOBES[1]] * 5 + [LOBES[0]] * 2}
    sliced = [(f"s{u}", "plain", u, "tissue") for u in uids[2:]]
    tables = {
        "case_nodules": pl.DataFrame(nodules),
        "cases": pl.DataFrame({"case_uid": uids, "arm": arms}),
        "insertions": pl.DataFrame({"case_uid": [uids[1], uids[1], *uids[2:]]}),
        "cts": pl.DataFrame({"case_uid": uids[2:], "source": ["tissue"] * 5}),
        "slices": pl.DataFrame(sliced, schema=["slice_uid", "condition", "case_uid", "source"], orient="row"),
        "answers": pl.DataFrame(
            [(*row[:2], row[3], "ok" if row[2] != uids[6] else "error", "none") for row in sliced],
            schema=["slice_uid", "condition", "source", "status", "control"],
            orient="row",
        ),
    }
    why = pl.DataFrame({"case_uid": uids[:2], "why": ["does not fit (insert)", "no contrast (synthesise)"]})
    monkeypatch.setattr(flow, "read_table", lambda root, name, **_: tables[name])
    monkeypatch.setattr(flow, "read_all", lambda root, name, **_: tables[name])
    monkeypatch.setattr(flow, "_rejected", lambda *_: why)
    by_arm, by_size, by_lobe = flow.flow_section(load_settings(), "m", ["small", "big"]).blocks
    assert by_arm.rows == (
        ("small", "tissue", 4, 3, 2, 2, 2, "does not fit (insert): 1; no contrast (synthesise): 1"),
        ("big", "tissue", 3, 3, 3, 3, 2, "–"),
    )
    assert [(r[0], r[2], r[6]) for r in by_size.rows] == [("<5 mm", 4, 2), (">30 mm", 2, 2), ("no nodule", 1, 0)]
    assert [(r[0], r[2]) for r in by_lobe.rows] == [("left upper lobe", 1), ("left lower lobe", 5), ("no nodule", 1)]
