"""A tour of an output folder, as a marimo notebook: its notebook. It only reads, and runs as a script too.

A section whose stage has not run says which command runs it.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="iTrialSpace tour")


@app.cell
def _():
    import marimo as mo

    import itrialspace_assets.api as its
    from itrialspace_assets.base.errors import PlatformError

    def shown(make):
        """What a function makes, or why it cannot yet."""
        try:
            return make()
        except PlatformError as error:
            return mo.callout(mo.md(str(error)), kind="warn")

    return its, mo, shown


@app.cell
def _(its):
    # A folder with data/ and out/: its.open(".demo"). Without one, what the environment says.
    root = its.open()
    return (root,)


@app.cell(hide_code=True)
def _(mo, root):
    mo.md(
        f"""
    # A tour of iTrialSpace

    `{root}`

    Everything here is read from the output folder; nothing is written. What is synthetic or procedural says so, and
    nothing here is a clinical result.

    ## The index
    """
    )
    return


@app.cell(hide_code=True)
def _(mo):
    color = mo.ui.dropdown(
        ["dataset", "label", "reinsertion_lobe", "size_bucket", "nodule_mean_diam_mm"], value="dataset", label="Colour"
    )
    diameter = mo.ui.range_slider(0, 60, value=[6, 30], label="Diameter (mm)", show_value=True)
    mo.hstack([color, diameter], justify="start")
    return color, diameter


@app.cell
def _(color, root, shown):
    shown(lambda: root.index.map(color.value))
    return


@app.cell
def _(diameter, root, shown):
    # Filters by name: a value, a list (any of), a pair (from, to).
    found = shown(lambda: root.index.search(nodule_mean_diam_mm=tuple(diameter.value), sort="nodule_mean_diam_mm"))
    found
    return (found,)


@app.cell
def _(diameter, root, shown):
    shown(lambda: root.index.facets(nodule_mean_diam_mm=tuple(diameter.value)))
    return


@app.cell
def _(root, shown):
    # The nodules most like the first of the index, and donors for a place in the right upper lobe.
    similar = shown(lambda: root.index.similar(root.index.frame["nodule_uid"][0], k=5))
    similar
    return


@app.cell
def _(root, shown):
    shown(lambda: root.index.match("RUL", cc_pct=60, diameter_mm=10, k=5))
    return


@app.cell(hide_code=True)
def _(mo, root):
    planned = [trial.mode for trial in root.trials if trial.planned]
    mode = mo.ui.dropdown(planned, value=planned[0] if planned else None, label="Trial")
    mo.vstack([mo.md("## A trial: what was asked, and what was planned"), root.trials.list(), mode])
    return (mode,)


@app.cell
def _(mo, mode, root, shown):
    mo.stop(mode.value is None, mo.md("No trial is planned yet: `its trials plan 1-13`"))
    shown(root.trials[mode.value].balance_chart)
    return


@app.cell
def _(mo, mode, root, shown):
    mo.stop(mode.value is None)
    shown(lambda: root.trials[mode.value].feasibility)
    return


@app.cell(hide_code=True)
def _(mo, mode, root):
    mo.stop(mode.value is None)
    uids = root.cases(mode=mode.value)["case_uid"].to_list()
    uid = mo.ui.dropdown(uids, value=uids[0], label="Case", searchable=True)
    mo.vstack([mo.md("## A case: volumes, slices, answers"), uid])
    return (uid,)


@app.cell
def _(mo, root, uid):
    case = root.case(uid.value)
    mo.vstack([mo.md(f"**{case.mark}**"), mo.md(f"`{case}`"), mo.md(f"`{case.volumes}`"), case.nodules])
    return (case,)


@app.cell
def _(case, mo):
    # The slice with the nodule, and the same place on the lesion-free twin. The patient's right is on the left.
    pictures = [
        mo.image(case.slices.array(z, condition, site=site), width=260, caption=f"z {z}, {condition}, {site}")
        for z, condition in list(case.slices)[:4]
        for site in ("lesion", "cleared_lesion")
        if not case.slices.frame.filter(slice_z=z, condition=condition, guidance_site=site).is_empty()
    ]
    mo.hstack(pictures, wrap=True, justify="start") if pictures else mo.md("No slices yet: `its run --to slice`")
    return


@app.cell(hide_code=True)
def _(mo):
    viewer = mo.ui.switch(label="Open the case in the viewer (sends the whole CT to the browser)")
    viewer
    return (viewer,)


@app.cell
def _(case, mo, shown, viewer):
    mo.stop(not viewer.value)
    shown(case.view)
    return


@app.cell
def _(case):
    case.answers
    return


@app.cell
def _(mo, mode, root, shown):
    mo.stop(mode.value is None)

    def chart():
        rows = root.results.metrics(analysis=mode.value, task="presence", condition="plain", metric="sensitivity")
        return mo.vstack(
            [root.results.chart(rows), rows.select("reader", "stratum", "estimate", "low", "high", "flag")]
        )

    mo.vstack(
        [mo.md("## A number with its interval; a hollow mark should not be trusted, `flag` says why"), shown(chart)]
    )
    return


@app.cell
def _(mo, mode, root, shown):
    mo.stop(mode.value is None)
    behind = shown(lambda: root.results.cases_of(mode.value, "sensitivity"))
    mo.vstack([mo.md("The slices behind it, those that cost it most first:"), behind])
    return


@app.cell(hide_code=True)
def _(mo):
    query = mo.ui.code_editor(
        "SELECT mode, arm, count(*) AS cases\nFROM cases\nGROUP BY mode, arm\nORDER BY mode, arm",
        language="sql",
        label="SQL over the catalog (read-only)",
    )
    mo.vstack([mo.md("## SQL"), query])
    return (query,)


@app.cell
def _(query, root, shown):
    answer = shown(lambda: root.results.sql(query.value))
    answer
    return (answer,)


if __name__ == "__main__":
    app.run()
