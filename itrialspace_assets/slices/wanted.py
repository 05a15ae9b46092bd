"""Which pictures a study asks for: profiles, neighbours, guidance and controls, from the settings. Cuts nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import PREFIX, Settings
from itrialspace_assets.casework.steps import Options
from itrialspace_assets.records.tables import CONDITIONS, PICTURE_CONTROLS, Z_OFFSETS
from itrialspace_assets.slices.windows import AXIAL, PROFILES, PreprocessProfile
from itrialspace_assets.synthesis.renderers import enabled


@dataclass(frozen=True)
class WantedPictures:
    """What is cut of every target, each in the registry's order."""

    profiles: tuple[PreprocessProfile, ...]
    z_offsets: tuple[int, ...]
    conditions: tuple[str, ...]
    controls: tuple[str, ...]

    @property
    def pictures(self) -> tuple[tuple[str, str], ...]:
        """(control, condition) of every picture of one plane; ``none`` first."""
        guided = [c for c in self.conditions if c != "plain"]
        found = [("none", c) for c in self.conditions]
        for control in self.controls:
            found += [(control, c) for c in (["plain"] if control == "blank" else guided)]
        return tuple(found)

    @property
    def options(self) -> Options:
        """What enters code versions and input hashes."""
        return {
            "profiles": ",".join(p.name for p in self.profiles),
            "z_offsets": ",".join(map(str, self.z_offsets)),
            "conditions": ",".join(self.conditions),
            "controls": ",".join(self.controls),
        }


def wanted(settings: Settings) -> WantedPictures:
    """What the settings ask for.

    Raises:
        ConfigError: a name is none of the registry, nothing is asked for, the plane itself is left out of the
            neighbours, or a control needs guidance and none is drawn; names the variable.
    """
    conditions = _chosen("CONDITIONS", settings.conditions, CONDITIONS)
    controls = _chosen("CONTROLS", settings.controls, PICTURE_CONTROLS, none=True)
    offsets = _chosen("Z_OFFSETS", settings.z_offsets.replace("+", ""), [str(z) for z in Z_OFFSETS])
    if "0" not in offsets:
        raise ConfigError(f"{PREFIX}Z_OFFSETS={settings.z_offsets!r}: expected 0, the target's own plane, among them")
    if set(controls) - {"blank"} and conditions == ("plain",):
        raise ConfigError(
            f"{PREFIX}CONTROLS={settings.controls!r}: expected guidance that a control can draw, got "
            f"{PREFIX}CONDITIONS={settings.conditions!r}; add bbox"
        )
    return WantedPictures(
        profiles=tuple(PROFILES[name] for name in _chosen("PROFILES", settings.profiles, list(PROFILES))),
        z_offsets=tuple(map(int, offsets)),
        conditions=conditions,
        controls=controls,
    )


def require_planes(settings: Settings) -> None:
    """Refuse profiles that cut across other axes where only axial slices of an image will be kept.

    Raises:
        ConfigError: such a profile is asked for; names both variables and the renderer.
    """
    across = [p.name for p in wanted(settings).profiles if p.axis != AXIAL]
    whole = [r.name for r in enabled(settings) if r.patch is None]
    if settings.cts == "slices" and across and whole:
        raise ConfigError(
            f"{PREFIX}PROFILES={settings.profiles!r}: {', '.join(across)} cut whole images, and of those of "
            f"{', '.join(whole)} only axial slices are kept; expected {PREFIX}CTS=nifti, got {settings.cts!r}"
        )


def _chosen(name: str, text: str, known: Sequence[str], none: bool = False) -> tuple[str, ...]:
    """Names separated by commas, in the order of those known.

    Args:
        name: of the variable, without its prefix.
        text: its value.
        known: what may be chosen.
        none: whether nothing may be chosen.

    Raises:
        ConfigError: a name is not known, or nothing is chosen.
    """
    chosen = {part.strip() for part in text.split(",") if part.strip()}
    if unknown := sorted(chosen - set(known)):
        raise ConfigError(f"{PREFIX}{name}={text!r}: expected some of {', '.join(known)}, got {unknown[0]!r}")
    if not chosen and not none:
        raise ConfigError(f"{PREFIX}{name}={text!r}: expected at least one of {', '.join(known)}, got none")
    return tuple(k for k in known if k in chosen)
