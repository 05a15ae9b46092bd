"""One typed object for everything that a machine or a user decides.

A value comes from the process environment, else from ``.env`` (working folder first, then the checkout), else from its
default; an empty variable counts as unset. Nothing here touches data; files of YAML are read in ``yaml_files``.
"""

import difflib
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from itrialspace_assets.base.errors import ConfigError

PREFIX = "ITRIALSPACE_"
#: A file of this name at the top of a data root says that its anatomy is not of real people.
PROCEDURAL_MARK = "PROCEDURAL.json"
#: A file of this name says that the root is the published release: its counts are checked.
RELEASE_MARK = "RELEASE.json"


#: What a setting that names files of the output folder may be: no path, and the same on every file system.
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def _absolute(path: Path, name: str) -> Path:
    """A path with ``~`` resolved.

    Raises:
        ConfigError: nobody knows the home folder, as for a user without an entry in passwd.
    """
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        raise ConfigError(
            f"{PREFIX}{name}={path}: expected a home folder for ~, found none (no HOME, no entry in passwd); set "
            f"{PREFIX}{name} to an absolute path"
        ) from None


def find_root() -> Path:
    """The checkout: the nearest folder upwards that holds ``pyproject.toml``, else the working one."""
    here = Path.cwd()
    return next((p for p in (here, *here.parents) if (p / "pyproject.toml").exists()), here)


class Settings(BaseSettings):
    """Where things are and how the stages run. ``its config`` prints it."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True, populate_by_name=True
    )

    data_dir: Path = Field(Path("~/.itrialspace/data"), description="Inputs in the published layout.")
    output_dir: Path | None = Field(None, description="Outputs; the data root itself if unset.")
    datasets_config: Path | None = Field(None, description="YAML that adds or overrides datasets.")
    readers_config: Path | None = Field(None, description="YAML that adds or overrides readers.")
    weights_dir: Path | None = Field(None, description="Folder of readers' weights, a folder a reader.")
    trials_dir: Path | None = Field(None, description="Folder of your own trial files (x_<name>.yaml).")
    studies_dir: Path | None = Field(None, description="Folder of your own study files.")
    study: str = Field("demo", description="Study file that reports follow.")
    split: str = Field("demo_v1", description="Frozen list of slices that reports score.")
    size: Literal["demo", "paper"] = Field("demo", description="Column of a trial's sizes.")
    overrides: str = Field("", description="Cohort fields of trials set for this run: cohort.n_cases=1000; ...")
    relax: bool = Field(False, description="Give up constraints of an infeasible trial, and record each.")
    renderers: str = Field("tissue", description="Enabled renderers, separated by commas.")
    masks: Literal["nifti", "delta"] = Field("nifti", description="Keep whole masks, or deltas only.")
    placement: Literal["strict", "compat"] = Field(
        "strict", description="Rules of placement: ours, or the original system's with its quirks, for comparison."
    )
    cts: Literal["nifti", "delta", "slices"] = Field(
        "nifti",
        description=(
            "Keep whole CTs; patches over the lesion-free twin, where a renderer makes such; or, of the others, "
            "only the slices that hold lesions."
        ),
    )
    profiles: str = Field("lung_axial", description="Preprocess profiles that slices are cut with.")
    z_offsets: str = Field("0", description="Slices from the target's plane that are cut: -1, 0, 1.")
    conditions: str = Field("plain,bbox,contour,bbox_contour", description="Guidance that is drawn on slices.")
    controls: str = Field(
        "", description="Pictures that show whether a reader looks at pixels: blank, box_only, contralateral_box."
    )
    layouts: str = Field(
        "", description="Layouts of the nodule map beside PCA_2D that its asset makes, with commas: UMAP_2D,TSNE_2D."
    )
    workers: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, le=512, description="Worker processes.")
    device: Literal["cuda", "cpu"] = Field(
        "cuda", description="Where GPU renderers and readers compute; cpu is for small networks."
    )
    per_gpu: int = Field(
        2,
        ge=1,
        le=64,
        description="Workers of a GPU; they take turns, so that one computes while others read and write.",
    )
    nodmaisi_schedule: Literal["exact", "compat"] = Field(
        "exact", description="Steps of the flow: summing to 1, or the original system's."
    )
    executor: Literal["in_process", "multiprocess", "slurm", "docker", "k8s"] = Field(
        "in_process", description="How the steps of a run that Dagster starts are run."
    )
    docker_image: str | None = Field(None, description="Image of steps; that of the code location if unset.")
    docker_network: str | None = Field(
        None, description="Network of steps; that of the run's own container if unset, and none where it has none."
    )
    docker_volumes: str = Field(
        "",
        description="Folders of steps, <here>:<there>[:ro] and so on, with commas; if empty, the folders of these "
        "settings at their own paths.",
    )
    docker_env: str = Field(
        "", description="Names of further variables that steps get, with commas: a served model's key, for example."
    )
    k8s_gpu_nodes: str = Field("", description="Labels of nodes for steps that need a GPU: label=value, with commas.")
    slurm_partition: str | None = Field(None, description="Partition of SLURM for steps; its default if unset.")
    slurm_gpu_partition: str | None = Field(None, description="Partition of SLURM for steps that need a GPU.")
    slurm_account: str | None = Field(None, description="Account of SLURM that is charged.")
    slurm_options: str = Field("", description="More options of sbatch, for example --qos=long --exclude=node7.")
    automation: Literal["off", "on"] = Field(
        "off",
        description="Whether sensors and the nightly schedule run; they can be turned on one by one in the web page.",
    )
    log: Literal["text", "json"] = Field(
        "text", description="Whether log records are lines of text or of JSON, on the error stream."
    )
    webhook: SecretStr | None = Field(None, description="Address that is told of each failed run, as JSON.")
    shards: int = Field(1, ge=1, le=10_000, description="Steps (containers, jobs) per heavy partition.")
    batch: int = Field(64, ge=1, le=100_000, description="Requests that a reader is given at once; kept together.")
    case_ids: Path | None = Field(
        None, description="File of case_uids, slice_uids or published ids, one a line; only these are read."
    )
    max_cases: int | None = Field(None, ge=1, description="Most cases of a mode and dataset that are read.")
    ask: bool = Field(
        True, description="Whether readers may be asked; false: their tables are made from what they were asked before."
    )
    seed: int = Field(42, ge=0, description="Root of every random draw.")
    max_rejected: float = Field(0.1, ge=0, le=1, description="Share of rejected cases above which a check fails.")
    nodmaisi_models_dir: Path | None = Field(
        None, validation_alias="NODMAISI_MODELS_DIR", description="Weights of the NodMAISI renderer."
    )
    fid_weights: Path | None = Field(
        None,
        description="TorchScript file of the FID extractor; a descriptor without weights if unset.",
    )
    hf_token: SecretStr | None = Field(None, validation_alias="HF_TOKEN", description="Token for gated weights.")

    @field_validator("*", mode="before")
    @classmethod
    def _no_blank(cls, value: Any) -> Any:
        if isinstance(value, str) and "${" in value:
            raise ValueError(f"holds an unresolved variable: {value!r}")
        return value

    @field_validator("split", "study")
    @classmethod
    def _names_files(cls, value: str) -> str:
        if not _FILE_NAME.fullmatch(value):
            raise ValueError(
                "expected 1 to 64 letters (a to z), digits, _, - and ., a letter or digit first: it names files"
            )
        return value

    @property
    def data(self) -> Path:
        return _absolute(self.data_dir, "DATA_DIR")

    @property
    def output(self) -> Path:
        return self.data if self.output_dir is None else _absolute(self.output_dir, "OUTPUT_DIR")

    @property
    def anatomy(self) -> Literal["real", "procedural"]:
        """Whether the data root holds real people or the generated phantom."""
        return "procedural" if (self.data / PROCEDURAL_MARK).exists() else "real"

    @property
    def released(self) -> bool:
        """Whether the data root says that it is the published release."""
        return (self.data / RELEASE_MARK).exists()

    @property
    def override_list(self) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.overrides.split(";") if part.strip())

    @property
    def renderer_names(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.renderers.split(",") if name.strip())

    @property
    def docker_volume_list(self) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.docker_volumes.split(",") if part.strip())

    @property
    def docker_env_list(self) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.docker_env.split(",") if part.strip())

    @property
    def k8s_gpu_labels(self) -> dict[str, str]:
        """
        Raises:
            ConfigError: a part is no ``label=value``.
        """
        parts = [part.strip().partition("=") for part in self.k8s_gpu_nodes.split(",") if part.strip()]
        if wrong := [label for label, _, value in parts if not (label and value)]:
            raise ConfigError(f"{PREFIX}K8S_GPU_NODES: expected label=value, got {wrong[0]!r}")
        return {label: value for label, _, value in parts}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Where values come from, first before last: arguments, the environment, ``.env``.

        Args:
            settings_cls: this class.
            init_settings: arguments of the constructor.
            env_settings: the process environment.
            dotenv_settings: the ``.env`` file.
            file_secret_settings: files of secrets; not used.
        """
        return init_settings, env_settings, dotenv_settings


def env_file() -> Path | None:
    """The ``.env`` in force: of the working folder, else of the checkout."""
    return next((p for p in (Path(".env").absolute(), find_root() / ".env") if p.is_file()), None)


def load_settings(**overrides: Any) -> Settings:
    """Settings of this process, overrides first.

    Raises:
        ConfigError: a value is not allowed; names the variable, the value and what is expected.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    file = env_file()
    _refuse_unknown([*os.environ, *_dotenv(file)])
    return _checked(_env_file=file, _env_file_encoding="utf-8-sig", **given)


def _dotenv(file: Path | None) -> dict[str, str]:
    """Variables of an ``.env`` that are not empty.

    Raises:
        ConfigError: the file is not in UTF-8; names the line.
    """
    if file is None:
        return {}
    from dotenv import dotenv_values

    try:
        return {k.upper(): v for k, v in dotenv_values(file, encoding="utf-8-sig").items() if v}
    except UnicodeDecodeError as error:
        line = file.read_bytes()[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{file}: line {line}: expected UTF-8, got the byte 0x{error.object[error.start]:02X}; save the file as "
            "UTF-8"
        ) from None


def _refuse_unknown(names: list[str]) -> None:
    """Refuse variables that look like settings and are none: a misspelt one would be ignored without a word.

    Raises:
        ConfigError: names such a variable, and the nearest setting.
    """
    known = [variable_of((field.validation_alias or name,)) for name, field in Settings.model_fields.items()]
    for name in sorted({n.upper() for n in names if n.upper().startswith(PREFIX)} - set(known)):
        if os.environ.get(name) == "":
            continue
        near = difflib.get_close_matches(name, known, 1, 0.6)
        raise ConfigError(
            f"{name}: expected a setting of `its config`, got none of that name"
            + (f"; did you mean {near[0]}?" if near else "; unset it")
        )


def _checked(**given: Any) -> Settings:
    try:
        return Settings(**given)
    except ValidationError as error:
        lines = [
            f"{variable_of(e['loc'])}={e.get('input')!r}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        ]
        raise ConfigError("settings: " + "; ".join(lines)) from None


_SECRETS = {"hf_token", "webhook"}


def freeze(settings: Settings) -> dict[str, Any]:
    """Every setting as JSON, to travel to another process; secrets stay in the environment of each."""
    dump = settings.model_dump(mode="json", exclude=_SECRETS)
    return dump | {"data_dir": str(settings.data), "output_dir": str(settings.output)}


def thaw(dump: Mapping[str, Any], **overrides: Any) -> Settings:
    """The settings that ``freeze`` gave, whatever this process's environment says; overrides are laid over.

    Raises:
        ConfigError: an override is not allowed.
    """
    return _checked(_env_file=None, **(dict(dump) | overrides))


def environment(settings: Settings) -> dict[str, str | None]:
    """Settings as environment variables of a child process; None: to be unset."""
    fields = Settings.model_fields
    return {
        variable_of((fields[name].validation_alias or name,)): None if value is None else str(value)
        for name, value in freeze(settings).items()
    }


def variable_of(loc: tuple[Any, ...]) -> str:
    name = str(loc[0]) if loc else "?"
    return name if name.isupper() else PREFIX + name.upper()


def provenance(settings: Settings, options: Collection[str] = ()) -> list[tuple[str, str, str]]:
    """(variable, value, where it came from) of every setting; secrets are masked.

    Args:
        settings: of this process.
        options: names of the settings that options of the command line gave.
    """
    file = env_file()
    dotenv = _dotenv(file)
    rows = []
    for name, field in Settings.model_fields.items():
        variable = str(field.validation_alias or PREFIX + name.upper())
        if name in options:
            source = "option"
        elif os.environ.get(variable):
            source = "environment"
        elif variable in dotenv:
            source = str(file)
        else:
            source = "default"
        value = getattr(settings, name)
        rows.append((variable, "" if value is None else str(value), source))
    return rows


def require_plain_path(path: Path, name: str, refused: str) -> None:
    """Refuse a path that a program below would take for another one.

    Args:
        path: the path.
        name: variable that sets it.
        refused: regular expression of what it must not hold.

    Raises:
        ConfigError: the path holds it.
    """
    if found := re.search(refused, str(path)):
        raise ConfigError(
            f"{name}={path}: expected a path without {found.group()!r}, which databases read as part of an address; "
            "rename the folder"
        )


def require_data_root(settings: Settings) -> None:
    """Stop before any work where the inputs or the outputs cannot be used.

    Raises:
        ConfigError: the data root is missing, or the output folder cannot be written.
    """
    if not (settings.data / "profiles").is_dir():
        raise ConfigError(
            f"{PREFIX}DATA_DIR={settings.data}: expected a data root with a folder 'profiles', found none. "
            "Make one with `its demo-data --out DIR`, or point the variable at your own."
        )
    require_plain_path(settings.output, f"{PREFIX}OUTPUT_DIR", r"\?")
    try:
        settings.output.mkdir(parents=True, exist_ok=True)
        probe = settings.output / f".probe-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise ConfigError(f"{PREFIX}OUTPUT_DIR={settings.output}: expected a writable folder, got {error}") from None
