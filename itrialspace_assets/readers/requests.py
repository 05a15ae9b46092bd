"""Which requests a reader has for the slices of a partition, and their keys. Opens no picture and asks nothing."""

import hashlib
from collections.abc import Mapping, Sequence

import polars as pl

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.readers.api import Prompt, Reader
from itrialspace_assets.records.tables import TASK_OPTIONS

#: Hash of no picture.
NOTHING = hashlib.sha256(b"").hexdigest()


def shown(slices: pl.DataFrame, profile: str, z_offsets: Sequence[int]) -> pl.DataFrame:
    """What a reader of a profile is shown of each target: one row a target, condition and control.

    A neighbour that does not exist (outside the scan) is not shown; a target without its centre is left out.

    Args:
        slices: rows of the table ``slices``.
        profile: preprocess profile.
        z_offsets: slices counted from the centre, rising.

    Returns:
        ``target_uid``, ``profile``, ``z_offsets``, ``condition`` and ``control`` with ``slice_uid`` of the centre,
        ``paths`` and ``sha256s`` in z order, ``picture_sha256``,
        ``pixel_x_mm``, ``pixel_y_mm``, ``image_uid`` and ``slice_z``; in the order in which planes lie in scans.
    """
    mine = slices.filter(pl.col("profile") == profile, pl.col("z_offset").is_in(list(z_offsets)))
    centre = pl.col("z_offset") == 0
    found = (
        mine.unique(["slice_uid", "condition", "control"], keep="first", maintain_order=True)
        .sort("z_offset")
        .group_by("target_uid", "profile", "condition", "control")
        .agg(
            pl.col("z_offset").cast(pl.String).str.join(",").alias("z_offsets"),
            pl.col("path").alias("paths"),
            pl.col("sha256").alias("sha256s"),
            *(
                pl.col(c).filter(centre).first()
                for c in ("slice_uid", "pixel_x_mm", "pixel_y_mm", "image_uid", "slice_z")
            ),
        )
        .filter(pl.col("slice_uid").is_not_null())
    )
    return found.with_columns(picture_sha256=_hash_over(found["sha256s"])).sort(
        "image_uid", "slice_z", "target_uid", "condition", "control"
    )


def shown_scans(scans: Mapping[str, str], profile: str, most: int) -> pl.DataFrame:
    """What a reader of whole scans is shown: one row a scan, with the columns of ``shown``.

    The target is the image itself; there is no slice, no file, and no pixel size before the scan is opened.

    Args:
        scans: ``image_uid`` of each and a hash of all that decides its voxels.
        profile: preprocess profile.
        most: most levels of a scan that are shown.
    """
    rows = [(uid, uid, _sha256("scan", key, profile, str(most))) for uid, key in sorted(scans.items())]
    schema = {"target_uid": pl.String, "image_uid": pl.String, "picture_sha256": pl.String}
    none = {"slice_uid": pl.String, "pixel_x_mm": pl.Float64, "pixel_y_mm": pl.Float64, "slice_z": pl.Int64}
    return pl.DataFrame(rows, schema, orient="row").with_columns(
        profile=pl.lit(profile),
        z_offsets=pl.lit(f"scan_{most}"),
        condition=pl.lit("plain"),
        control=pl.lit("none"),
        **{name: pl.lit([], pl.List(pl.String)) for name in ("paths", "sha256s")},
        **{name: pl.lit(None, of) for name, of in none.items()},
    )


def _hash_over(hashes: pl.Series) -> pl.Series:
    """Hash over pictures in z order; of one picture the hash of its file."""
    joined = [given[0] if len(given) == 1 else _sha256(*given) for given in hashes.to_list()]
    return pl.Series("picture_sha256", joined, dtype=pl.String)


def _sha256(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def given(reader: Reader, slices: pl.DataFrame, scans: Mapping[str, str]) -> pl.DataFrame:
    """What a reader is shown: see ``shown`` for one of slices, ``shown_scans`` for one of whole scans.

    Args:
        reader: who is asked; need not be loaded.
        slices: rows of the table ``slices``.
        scans: ``image_uid`` of whole scans and a hash of all that decides their voxels; not read for one of slices.
    """
    if reader.scan_levels is not None:
        return shown_scans(scans, reader.profile, reader.scan_levels)
    return shown(slices, reader.profile, reader.z_offsets)


def requests_of(reader: Reader, slices: pl.DataFrame, scans: Mapping[str, str] | None = None) -> pl.DataFrame:
    """Every request of a reader about some slices or scans, one row each, requests about one plane together.

    Args:
        reader: who is asked; need not be loaded.
        slices: rows of the table ``slices``.
        scans: whole scans (see ``given``), for a reader of such.

    Returns:
        The columns of ``shown`` with ``task``, ``prompt_id``, ``prompt`` (null without one), ``prompt_sha256``,
        ``options``, ``generation_key``, ``scan_uid`` (the whole scan that is shown, or null), and ``ids`` (null but for
        a reader that answers by id).

    Raises:
        ConfigError: there are slices, but none of the reader's profile or z offsets.
    """
    if reader.scan_levels is None:
        require_cut(reader, slices)
    return requests_about(reader, slices, scans)


def requests_about(reader: Reader, slices: pl.DataFrame, scans: Mapping[str, str] | None = None) -> pl.DataFrame:
    """``requests_of`` some of the slices of a partition: all of each of their images, or of each of their targets.

    Args:
        reader: who is asked; need not be loaded.
        slices: rows of the table ``slices``; one of a target may be without some of the reader's levels.
        scans: whole scans (see ``given``), for a reader of such.
    """
    seen = given(reader, slices, scans or {})
    asked = [seen.join(_tasks(reader, "none"), how="cross")]
    plain = seen.filter(pl.col("control") == "none")
    for control in reader.controls:
        of = plain.filter(pl.col("condition") == "plain") if control == "text_only" else plain
        asked.append(of.join(_tasks(reader, control), how="cross").with_columns(control=pl.lit(control)))
    every = pl.concat(asked)
    no_picture = pl.col("control") == "text_only"
    every = every.with_columns(
        picture_sha256=pl.when(no_picture).then(pl.lit(NOTHING)).otherwise(pl.col("picture_sha256")),
        **{c: pl.when(~no_picture).then(pl.col(c)) for c in ("pixel_x_mm", "pixel_y_mm")},
        **{
            c: pl.when(no_picture).then(pl.lit([], pl.List(pl.String))).otherwise(pl.col(c))
            for c in ("paths", "sha256s")
        },
    )
    scan = pl.when(~no_picture & pl.lit(reader.scan_levels is not None)).then(pl.col("image_uid"))
    every = _with_ids(every, slices) if reader.by_id else every.with_columns(ids=None)
    return every.with_columns(generation_key=_keys(reader, every), scan_uid=scan).sort(
        "image_uid", "slice_z", "target_uid", "condition", "control", "task"
    )


def _with_ids(requests: pl.DataFrame, slices: pl.DataFrame) -> pl.DataFrame:
    """Requests with ``ids`` (see ``api.Ids``)."""
    names = [pl.col(c).unique().sort().alias(f"{c}s") for c in ("published_id", "case_uid")]
    of_slice = slices.group_by("slice_uid").agg(names)
    every = pl.struct("slice_uid", "image_uid", "picture_sha256", "published_ids", "case_uids")
    return requests.join(of_slice, on="slice_uid").with_columns(ids=every).drop("published_ids", "case_uids")


def require_cut(reader: Reader, slices: pl.DataFrame) -> None:
    """Make sure that a reader's profile and levels were cut.

    Args:
        reader: who is asked.
        slices: ``profile`` and ``z_offset`` of all slices of a partition.

    Raises:
        ConfigError: there are slices, but none of the reader's profile or z offsets.
    """
    for setting, column, wanted in (
        ("ITRIALSPACE_PROFILES", "profile", [reader.profile]),
        ("ITRIALSPACE_Z_OFFSETS", "z_offset", list(reader.z_offsets)),
    ):
        there = slices[column].unique().sort().to_list()
        if missing := [str(w) for w in wanted if slices.height and w not in there]:
            raise ConfigError(
                f"reader {reader.name}: expected slices of {column} {', '.join(missing)}, got "
                f"{', '.join(map(str, there))}; add it to {setting} and run the stage slice, or change {column} of the "
                "reader in readers.yaml"
            )


def _tasks(reader: Reader, control: str) -> pl.DataFrame:
    """The reader's tasks under a control of requests, one row each."""
    rows = []
    for task in reader.tasks:
        prompt = reader.prompts.get(task)
        written = dict(prompt.options if prompt and prompt.options else ((o, o) for o in TASK_OPTIONS[task]))
        options = list(written)
        if control == "options_rotated":
            options = options[1:] + options[:1]
        text = _words(prompt, [written[option] for option in options], control) if prompt else None
        rows.append((task, prompt.id if prompt else task, text, _sha256(text) if text else None, options))
    return pl.DataFrame(
        rows,
        schema={
            "task": pl.String,
            "prompt_id": pl.String,
            "prompt": pl.String,
            "prompt_sha256": pl.String,
            "options": pl.List(pl.String),
        },
        orient="row",
    )


def _words(prompt: Prompt, options: Sequence[str], control: str) -> str:
    text = prompt.paraphrase if control == "prompt_paraphrase" else prompt.text
    return text.replace("{options}", ", ".join(options))


def _keys(reader: Reader, requests: pl.DataFrame) -> pl.Series:
    """Key of each request: pictures, pixel size, condition, control, task or prompt, options, reader revision.

    Of a reader that answers by id, its slice as well.
    """
    columns = ["picture_sha256", "pixel_x_mm", "pixel_y_mm", "condition", "control", "task", "prompt_sha256"]
    columns += ["slice_uid"] if reader.by_id else []
    texts = requests.select(
        pl.concat_str(
            *(pl.col(c).cast(pl.String).fill_null("") for c in columns),
            pl.col("options").list.join("|"),
            separator="\n",
        )
    ).to_series()
    prefix = f"{reader.revision}\n"
    keys = [hashlib.sha256((prefix + text).encode()).hexdigest()[:32] for text in texts]
    return pl.Series("generation_key", keys, dtype=pl.String)
