"""``its insert`` (also ``its-insert``) and ``its masks``: manifests in, masks out, from files alone."""

from pathlib import Path
from typing import Annotated

import typer

from itrialspace_assets.cli.options import Folder, Workers, load, run_app

insert_app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Insert nodules from manifest files, and verify what a run left. The graph does it by itself: its run.",
)
masks_app = typer.Typer(no_args_is_help=True, help="Hand inserted masks over.")


@insert_app.command()
def run(
    manifests: Annotated[
        list[Path],
        typer.Argument(help="Manifests in the published layout: CSV, or JSON with a list of rows or with 'cases'."),
    ],
    base: Annotated[
        Path | None, typer.Option("--base-dir", help="Where relative paths of the manifests start; the data root.")
    ] = None,
    masks: Annotated[str | None, typer.Option(help="Keep whole masks (nifti) or deltas only (delta).")] = None,
    placement: Annotated[
        str | None, typer.Option(help="strict, or compat: the original's rules, quirks included.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Root of every draw.", min=0)] = None,
    workers: Workers = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read the manifests, say what would be done, write nothing.")
    ] = False,
    folder: Folder = None,
) -> None:
    """Insert every case of some manifests: `its insert run manifests/mode2_size_detection_curve/*.csv`.

    Needs the label maps and donor masks that the manifests name, never a CT. A run that was stopped goes on
    where it was. Masks and `audit.json` lie in `inserted_masks/` below the outputs; a row that cannot be done
    says why in the audit, and the exit code is 1 only if nothing could be done.
    """
    from itrialspace_assets.cli.show import progress
    from itrialspace_assets.insertion.manifest_run import insert_manifests
    from itrialspace_assets.insertion.manifests import manifests_among, published_folders, read_manifest

    settings = load(folder, masks=masks, placement=placement, seed=seed, workers=workers)
    manifests = manifests_among(manifests)
    if dry_run:
        for path in manifests:
            rows = read_manifest(path)
            hosts = {r["host_organ_seg_path"] for r in rows}
            typer.echo(
                f"{path}: {len({r['case_id'] for r in rows})} cases, {len(rows)} nodules, {len(hosts)} hosts "
                f"-> inserted_masks/{'/'.join(published_folders(path))}"
            )
        return
    done = total = 0
    for result in insert_manifests(manifests, settings, (base or settings.data).absolute(), progress):
        failed = result.failed
        done, total = done + len(result.records) - len(failed), total + len(result.records)
        moved = sum("moved" in r["relaxations"] for r in result.rows)
        typer.echo(
            f"{len(result.records) - len(failed)} of {len(result.records)} nodules, {result.computed} cases "
            f"computed, {moved} moved by more than a voxel: {result.folder}"
        )
        for r in failed[:5]:
            typer.echo(f"  case {r['case_id']}, nodule {r['nodule_idx']}: {r['reason']}", err=True)
        if len(failed) > 5:
            typer.echo(f"  and {len(failed) - 5} more; see audit.json", err=True)
    typer.echo(
        f"Inserted {done} of {total} nodules ({settings.placement} rules) below {settings.output / 'inserted_masks'}"
    )
    if total and not done:
        raise typer.Exit(1)


@insert_app.command()
def verify(
    audits: Annotated[list[Path], typer.Argument(help="Folders with an audit.json, or the files themselves.")],
    base: Annotated[
        Path | None, typer.Option("--base-dir", help="Where relative paths of donors start; the data root.")
    ] = None,
    folder: Folder = None,
) -> None:
    """Read audits again: each mask must hold the nodule voxels that they say, in their donors' size and shape."""
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.insertion.verify import check_audit

    settings = load(folder)
    wrong = 0
    for given in audits:
        path = given / "audit.json" if given.is_dir() else given
        if not path.is_file():
            raise ConfigError(f"{path}: expected an audit.json, found none")
        found = check_audit(path, settings.output, (base or settings.data).absolute())
        wrong += len(found.wrong)
        for line in found.wrong:
            typer.echo(f"  {line}", err=True)
        typer.echo(
            f"{path}: {found.inserted} of {found.records} nodules inserted, {found.compared} compared with their "
            f"donors, {len(found.wrong)} not as they should be"
        )
    if wrong:
        raise typer.Exit(1)


@masks_app.command()
def export(
    mode: Annotated[str, typer.Argument(help="Mode number or key.")],
    to: Annotated[Path, typer.Option("--to", help="Folder to fill.")],
    how: Annotated[
        str, typer.Option("--format", help="nifti (whole label maps) or dicom-seg (the nodules, one segment each).")
    ] = "nifti",
    case: Annotated[
        str | None, typer.Option(help="One case_uid, for example size_detection_curve/10_15mm/00000.")
    ] = None,
    folder: Folder = None,
) -> None:
    """Write the masks of a mode as NIfTI or DICOM-SEG, also where only deltas are kept."""
    from itrialspace_assets.cli.show import progress
    from itrialspace_assets.insertion.export import chosen, export_masks
    from itrialspace_assets.records.layout import MODES

    settings = load(folder)
    key = MODES[int(mode) - 1] if mode.isdigit() and 1 <= int(mode) <= len(MODES) else mode
    rows = chosen(settings, key, case)
    with progress("masks", rows["case_uid"].n_unique()) as advance:
        count = export_masks(settings, rows, to, how, advance)
    typer.echo(f"{count} masks ({how}) in {to}")


def main() -> None:
    """Entry point of ``its-insert``."""
    run_app(insert_app)


if __name__ == "__main__":
    main()
