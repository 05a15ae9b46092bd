"""What the answers of a partition say about the reader itself: coverage, refusals, constant answers, duplicates.

Compares with no truth; what is right or wrong is the reports' business.
"""

from collections.abc import Callable, Iterable

import polars as pl

#: Least number of answers of which a constant one says something, and bits of entropy below which they are (ours).
ENOUGH, CONSTANT_BITS = 100, 0.05
_CELL = ("task", "condition", "control")


def tasks_of(answers: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Each ``task`` of some frames of ``answers``, and whether the reader does it (``supported``)."""
    none = pl.DataFrame(schema={"task": pl.String, "supported": pl.Boolean})
    parts = [part.select("task", supported=pl.col("status") != "unsupported").unique() for part in answers]
    return pl.concat([none, *parts]).group_by("task").agg(pl.col("supported").any())


def coverage(
    parts: Iterable[tuple[pl.DataFrame, pl.DataFrame]], tasks: pl.DataFrame, controls: tuple[str, ...]
) -> pl.DataFrame:
    """Of each cell, how many of the targets that the reader is shown have an answer or a reason other than a failure.

    Args:
        parts: some targets at a time: rows of the table ``answers``, and what the reader is shown (``requests.given``).
        tasks: from ``tasks_of``.
        controls: controls of requests that the reader is asked under.

    Returns:
        ``task``, ``condition``, ``control``, ``wanted``, ``got``, and their ratio ``share``.
    """
    schema = pl.Schema({**dict.fromkeys(_CELL, pl.String()), "wanted": pl.UInt32(), "got": pl.Int32()})
    cells = [_covered(answers, given, tasks, controls).cast(schema) for answers, given in parts]
    return (
        pl.concat([pl.DataFrame(schema=schema), *cells])
        .group_by(_CELL)
        .agg(pl.col("wanted", "got").sum())
        .with_columns(share=pl.col("got") / pl.col("wanted"))
        .sort(_CELL)
    )


def _covered(
    answers: pl.DataFrame, given: pl.DataFrame, tasks: pl.DataFrame, controls: tuple[str, ...]
) -> pl.DataFrame:
    shown = given.select("target_uid", "condition", "control")
    asked = [shown]
    for control in controls:
        of = shown.filter(pl.col("control") == "none")
        of = of.filter(pl.col("condition") == "plain") if control == "text_only" else of
        asked.append(of.with_columns(control=pl.lit(control)))
    done = answers.filter(pl.col("status") != "error").select("target_uid", *_CELL, got=pl.lit(1)).unique()
    every = pl.concat(
        [
            pl.concat(asked).join(tasks.filter("supported").select("task"), how="cross"),
            shown.join(tasks.filter(~pl.col("supported")).select("task"), how="cross"),
        ]
    )
    return (
        every.join(done, on=["target_uid", *_CELL], how="left")
        .group_by(_CELL)
        .agg(pl.len().alias("wanted"), pl.col("got").sum())
    )


def _counted(answers: Iterable[pl.DataFrame], by: list[str]) -> pl.DataFrame:
    """How many answers (``n``) hold each combination of some columns, texts; nothing else of them stays in memory."""
    none = pl.DataFrame(schema=dict.fromkeys(by, pl.String()) | {"n": pl.UInt32()})
    return pl.concat([none, *(part.group_by(by).len("n") for part in answers)]).group_by(by).agg(pl.col("n").sum())


def refusals(answers: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Of each task and control that the reader does, the shares of answers that were refused and not parsed."""
    counts = _counted(answers, ["task", "control", "status"]).filter(pl.col("status") != "unsupported")
    n = pl.col("n")
    shares = {status: n.filter(pl.col("status") == status).sum() / n.sum() for status in ("refused", "unparsed")}
    return counts.group_by("task", "control").agg(n.sum().alias("answers"), **shares).sort("task", "control")


def entropies(answers: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Of each task and control, the entropy (bits) of the answers, the commonest one, and whether they are constant."""
    counts = _counted(answers, ["task", "control", "answer", "status"]).filter(pl.col("status") == "ok")
    return (
        counts.sort("task", "control", "n", "answer")
        .group_by("task", "control")
        .agg(
            pl.col("n").sum().alias("answers"),
            (pl.col("n") / pl.col("n").sum()).entropy(base=2).abs().alias("bits"),
            pl.col("answer").last().alias("commonest"),
        )
        .with_columns(constant=(pl.col("answers") >= ENOUGH) & (pl.col("bits") < CONSTANT_BITS))
        .sort("task", "control")
    )


#: What one answer is about: columns of ``answers``.
ABOUT = ["target_uid", "condition", "control", "task", "scorer"]
#: What a key of the ledger stands for: columns of ``generations``.
REQUEST = ["picture_sha256", "condition", "control", "task", "prompt_sha256", "options"]


def answered_twice(answers: Iterable[pl.DataFrame]) -> list[str]:
    """Targets that were answered twice to one task; each frame has ``ABOUT`` of all answers to its targets."""
    found = []
    for part in answers:
        counts = part.group_by(ABOUT).len().filter(pl.col("len") > 1).sort(ABOUT)
        found += [f"{'/'.join(row[:-1])}: {row[-1]} answers" for row in counts.rows()]
    return found


def shared_keys(generations: Callable[[], Iterable[pl.DataFrame]]) -> list[str]:
    """Keys of the ledger that stand for two different requests.

    Args:
        generations: gives frames with ``generation_key`` and ``REQUEST``; called again where there are such keys.
    """
    key = pl.col("generation_key")
    request = pl.concat_str(
        *(pl.col(c).fill_null("") for c in REQUEST[:-1]), pl.col(REQUEST[-1]).list.join("|"), separator="\n"
    )
    # of each key and request its hash: of two that differ it is the same once in 2^64
    none = pl.DataFrame(schema={"key": pl.UInt64, "of": pl.UInt64})
    pairs = pl.concat([none, *(part.select(key=key.hash(), of=request.hash()).unique() for part in generations())])
    several = pairs.unique().group_by("key").len().filter(pl.col("len") > 1)["key"]
    if several.is_empty():
        return []
    named = [part.filter(key.hash().is_in(several.implode())).select(key, of=request.hash()) for part in generations()]
    counts = pl.concat(named).unique().group_by(key).len()
    rows = counts.filter(pl.col("len") > 1).sort(key).rows()
    return [f"generation_key {key}: {n} different requests" for key, n in rows]
