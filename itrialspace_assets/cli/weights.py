"""``its weights``: the network weights of the renderer NodMAISI, and weights that a reader needs in another form."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from itrialspace_assets.cli.options import Folder, load

app = typer.Typer(no_args_is_help=True, help="Check and lock the weights of NodMAISI; convert weights of readers.")


class Model(StrEnum):
    """Models whose published files must be converted."""

    LLAVA_MED = "llava-med"


@app.command("check")
def check_weights(folder: Folder = None) -> None:
    """Check that the weight files of NodMAISI are complete and equal to the locked ones.

    Prints the files that are needed, their folder (NODMAISI_MODELS_DIR), and the parameters of each network.

    Example: `its weights check`

    Result: text on the screen; nothing is written.
    """
    from itrialspace_assets.cli.show import progress
    from itrialspace_assets.synthesis.nodmaisi import networks, weights

    settings = load(folder)
    for name, (own, public) in weights.FILES.items():
        typer.echo(f"{name:15} {own} (in the public MAISI set: {public})")
    typer.echo(f"folder          NODMAISI_MODELS_DIR={settings.nodmaisi_models_dir or '(not set)'}")
    with progress("hashes", 1) as advance:
        found = weights.find(settings)
        advance(1)
    for name, count in networks.parameters(networks.read_architecture(found.architecture)).items():
        typer.echo(f"{name:15} {count:,} parameters")
    typer.echo(f"All files equal the locked ones; SHA-256 of all: {found.sha256}")


@app.command()
def lock(folder: Folder = None) -> None:
    """Lock the weight files of NodMAISI: write their SHA-256. From then on other files are refused.

    Run it once, after you have checked where the files come from.

    Example: `its weights lock`

    Result: a lock file beside the weights; the last line names it.
    """
    from itrialspace_assets.cli.show import progress
    from itrialspace_assets.synthesis.nodmaisi import weights

    settings = load(folder)
    with progress("hashes", 1) as advance:
        path = weights.lock(settings)
        advance(1)
    typer.echo(f"Result: {path}")


@app.command()
def convert(
    model: Annotated[Model, typer.Argument(help="Which model.")],
    source: Annotated[Path, typer.Argument(help="Folder with the model's files as published.")],
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder to make. Default: llava_med in ITRIALSPACE_WEIGHTS_DIR.")
    ] = None,
    vision_tower: Annotated[
        Path | None,
        typer.Option(
            "--vision-tower",
            help="Folder of openai/clip-vit-large-patch14-336 with safetensors files; only for weights without one.",
        ),
    ] = None,
    folder: Folder = None,
) -> None:
    """Convert the published files of a reader's model into files that today's library loads.

    llava-med: the folder of microsoft/llava-med-v1.5-mistral-7b. Tensors are renamed and nothing is computed. Missing,
    unknown or misshapen tensors are refused, and then nothing is written.

    Example: `its weights convert llava-med downloads/llava-med-v1.5-mistral-7b`

    Result: a folder that the reader llava_med loads; the last line names it.
    """
    from itrialspace_assets.base.errors import ConfigError
    from itrialspace_assets.cli.show import progress
    from itrialspace_assets.readers.chat.llava_med import convert as convert_llava_med

    settings = load(folder)
    target = to or (settings.weights_dir and settings.weights_dir / model.name.lower())
    if target is None:
        raise ConfigError("ITRIALSPACE_WEIGHTS_DIR is not set: set it, or say where the new folder goes with --to")
    with progress("files", len(list(source.glob("*.safetensors")))) as advance:
        report = convert_llava_med(source, target, vision_tower, lambda _: advance(1))
    typer.echo(
        f"{report['tensors']} tensors renamed, none missing, none unknown; {report['derived']} left out that follow "
        f"from the configuration; {report['parameters']:,} parameters"
    )
    typer.echo(f"Result: {target}")
