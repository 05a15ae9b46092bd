"""``its insert`` (also ``its-insert``) and ``its masks``: masks from manifest files alone, and their export."""

from pathlib import Path
from typing import Annotated

import typer

from itrialspace_assets.cli.options import Case, Folder, Workers, load, mode_key, run_app

insert_app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Insert nodules from manifest files without the graph, and verify inserted masks.",
)
masks_app = typer.Typer(no_args_is_help=True, help="Export inserted masks.")


@masks_app.callback()
def _masks() -> None: ...


@insert_app.command()
def run(
    manifests: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Manifests in the published layout: CSV, or JSON with a list of rows or with the key cases; or their "
            "folders."
        ),
    ] = None,
    named: Annotated[
        list[Path] | None, typer.Option("--manifest", "-m", help="A manifest, as the original's command names it.")
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option("--output-dir", "-o", help="Folder that gets the masks and audit.json of the one manifest, too."),
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option("--base-dir", help="Folder that relative paths of the manifests start from. Default: data root."),
    ] = None,
    masks: Annotated[str | None, typer.Option(help="Keep whole masks (nifti), or deltas only (delta).")] = None,
    placement: Annotated[
        str | None, typer.Option(help="Rules of placement: strict (ours), or compat (the original system's).")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every random draw.", min=0)] = None,
    workers: Workers = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read the manifests and print their counts. Write nothing.")
    ] = False,
    folder: Folder = None,
) -> None:
    """Insert the nodules of every case of some manifests, ours or the original's.

    Needs the label maps and donor masks that the manifests name, but no CT. A stopped command continues when it is run
    again. A rejected nodule has its reason in `audit.json`; the exit code is 1 if every nodule was rejected.

    Example: `its insert run manifests/mode2_size_detection_curve/10_15mm.csv`

    Result: masks and `audit.json` in the folder `inserted_masks/` of the output folder.
    """
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.cli.show import progress
    from itrialspace_assets.insertion.manifest_run import insert_manifests, link_result
    from itrialspace_assets.insertion.manifests import manifests_among, published_folders, read_manifest

    settings = load(folder, masks=masks, placement=placement, seed=seed, workers=workers)
    paths = manifests_among([*(manifests or ()), *(named or ())])
    if output_dir is not None and len(paths) > 1:
        raise ConfigError(f"--output-dir: expected one manifest, got {len(paths)}; leave the option out")
    if dry_run:
        for path in paths:
            rows = read_manifest(path)
            hosts = {r["host_organ_seg_path"] for r in rows}
            typer.echo(
                f"{path}: {len({r['case_id'] for r in rows})} cases, {len(rows)} nodules, {len(hosts)} hosts "
                f"-> inserted_masks/{'/'.join(published_folders(path))}"
            )
        return
    done = total = 0
    for result in insert_manifests(paths, settings, (base or settings.data).absolute(), progress):
        failed = result.failed
        done, total = done + len(result.records) - len(failed), total + len(result.records)
        moved = sum("moved" in r["relaxations"] for r in result.rows)
        typer.echo(
            f"{len(result.records) - len(failed)} of {len(result.records)} nodules, {result.computed} cases "
            f"computed, {moved} moved by more than one voxel: {result.folder}"
        )
        if output_dir is not None:
            link_result(result, output_dir)
        for r in failed[:5]:
            typer.echo(f"  case {r['case_id']}, nodule {r['nodule_idx']}: {r['reason']}", err=True)
        if len(failed) > 5:
            typer.echo(f"  and {len(failed) - 5} more; all are in audit.json", err=True)
    typer.echo(f"{done} of {total} nodules inserted ({settings.placement} rules)")
    typer.echo(f"Result: {output_dir or settings.output / 'inserted_masks'}")
    if total and not done:
        raise typer.Exit(1)


@insert_app.command()
def verify(
    audits: Annotated[
        list[Path] | None, typer.Argument(help="Folders with an audit.json, or the files themselves.")
    ] = None,
    output_dir: Annotated[
        list[Path] | None,
        typer.Option("--output-dir", "-o", help="A folder with an audit.json, as the original's command names it."),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", "-m", help="Manifest of the one audit: how much of it was inserted."),
    ] = None,
    base: Annotated[
        Path | None, typer.Option("--base-dir", help="Where relative paths of donors and hosts start; the data root.")
    ] = None,
    folder: Folder = None,
) -> None:
    """Verify audits, ours or the original's: each mask must hold the nodule voxels that they state.

    Masks are looked up beside their audit. Nodules that we inserted are compared with their donors in size and shape.
    Nodules of the host's own that the original leaves in are said and not counted. The exit code is 1 if a mask is
    missing or differs.

    Example: `its insert verify inserted_masks/mode2_size_detection_curve/10_15mm`

    Result: missing and different masks on the screen; nothing is written.
    """
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.cli.show import progress
    from itrialspace_assets.insertion.audit_check import check_audit, check_coverage

    settings = load(folder)
    paths = [given / "audit.json" if given.is_dir() else given for given in [*(audits or ()), *(output_dir or ())]]
    if not paths:
        raise ConfigError("expected a folder with an audit.json, got none; give it, or --output-dir")
    if manifest is not None and len(paths) > 1:
        raise ConfigError(f"--manifest: expected one audit, got {len(paths)}")
    for path in paths:
        if not path.is_file():
            raise ConfigError(f"{path}: expected an audit.json, found none")
    lines, wrong = [], 0
    with progress("audits", len(paths)) as advance:
        for path in paths:
            found = check_audit(path, settings.output, (base or settings.data).absolute())
            wrong += len(found.wrong)
            lines.append(
                f"{path}: {found.inserted} of {found.records} nodules inserted, {found.compared} compared with their "
                f"donors, {len(found.wrong)} masks missing or different"
            )
            lines += [f"  {line}" for line in found.wrong]
            lines += [f"  note: {line}" for line in found.notes[:5]]
            if len(found.notes) > 5:
                lines.append(f"  and {len(found.notes) - 5} more notes of this kind")
            if manifest is not None:
                said, differ = check_coverage(manifest, found, settings)
                lines += [f"  {line}" for line in (said, *differ)]
                wrong += len(differ)
            advance(1)
    for line in lines:
        typer.echo(line)
    if wrong:
        raise typer.Exit(1)


@masks_app.command()
def export(
    mode: Annotated[str, typer.Argument(help="Mode number or key.")],
    to: Annotated[Path, typer.Option("--to", help="Folder to fill.")],
    how: Annotated[
        str, typer.Option("--format", help="nifti (whole label maps) or dicom-seg (one segment for each nodule).")
    ] = "nifti",
    case: Case = None,
    folder: Folder = None,
) -> None:
    """Export the masks of a mode as NIfTI or DICOM-SEG. Works with whole masks and with deltas.

    Example: `its masks export 2 --to masks --format dicom-seg`

    Result: one file for each case in the folder of `--to`.
    """
    from itrialspace_assets.cli.show import progress
    from itrialspace_assets.insertion.export import chosen, export_masks

    settings = load(folder)
    rows = chosen(settings, mode_key(mode), case)
    with progress("masks", rows["case_uid"].n_unique()) as advance:
        count = export_masks(settings, rows, to, how, advance)
    typer.echo(f"{count} masks exported ({how})\nResult: {to}")


def main() -> None:
    """Entry point of ``its-insert``."""
    run_app(insert_app)


if __name__ == "__main__":
    main()
