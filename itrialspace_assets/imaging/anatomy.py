"""The label map, the lobes, and the one size-bucket function.

Labels are those of the VISTA3D / MAISI label space, whole numbers 0-255 with 0 outside the body
(docs/facts/insertion.md#labels). Nothing here reads files or knows about cases.
"""

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

NODULE = 23
BODY = 200
TRACHEA = 57
AIRWAY = 132
PULMONARY_VEIN = 119

LOBE_LABELS: dict[str, int] = {
    "left_lung_upper_lobe": 28,
    "left_lung_lower_lobe": 29,
    "right_lung_upper_lobe": 30,
    "right_lung_middle_lobe": 31,
    "right_lung_lower_lobe": 32,
}
LOBE_NAMES: dict[int, str] = {label: name for name, label in LOBE_LABELS.items()}
LobeName = Literal[
    "left_lung_upper_lobe",
    "left_lung_lower_lobe",
    "right_lung_upper_lobe",
    "right_lung_middle_lobe",
    "right_lung_lower_lobe",
]
LOBES: tuple[str, ...] = get_args(LobeName)
assert tuple(LOBE_LABELS) == LOBES
LUNG: tuple[int, ...] = tuple(LOBE_LABELS.values())
LEFT_LUNG: tuple[int, ...] = (28, 29)
RIGHT_LUNG: tuple[int, ...] = (30, 31, 32)

#: Organs to which a profile holds a distance (profile column stem -> label).
LANDMARKS: dict[str, int] = {
    "trachea": 57,
    "aorta": 6,
    "heart": 115,
    "esophagus": 11,
    "pulmonary_vein": 119,
    "superior_vena_cava": 125,
}

_SINGLE = {
    0: "background",
    1: "liver",
    3: "spleen",
    4: "pancreas",
    5: "right_kidney",
    6: "aorta",
    7: "inferior_vena_cava",
    8: "right_adrenal",
    9: "left_adrenal",
    10: "gallbladder",
    11: "esophagus",
    12: "stomach",
    13: "duodenum",
    14: "left_kidney",
    15: "bladder",
    17: "portal_and_splenic_vein",
    19: "small_bowel",
    22: "brain",
    23: "lung_nodule",
    24: "pancreatic_tumour",
    25: "hepatic_vessel",
    26: "hepatic_tumour",
    27: "colon_cancer",
    57: "trachea",
    58: "left_iliac_artery",
    59: "right_iliac_artery",
    60: "left_iliac_vein",
    61: "right_iliac_vein",
    62: "colon",
    87: "left_humerus",
    88: "right_humerus",
    89: "left_scapula",
    90: "right_scapula",
    91: "left_clavicle",
    92: "right_clavicle",
    93: "left_femur",
    94: "right_femur",
    95: "left_hip",
    96: "right_hip",
    97: "sacrum",
    98: "left_gluteus_maximus",
    99: "right_gluteus_maximus",
    100: "left_gluteus_medius",
    101: "right_gluteus_medius",
    102: "left_gluteus_minimus",
    103: "right_gluteus_minimus",
    104: "left_autochthon",
    105: "right_autochthon",
    106: "left_iliopsoas",
    107: "right_iliopsoas",
    108: "left_atrial_appendage",
    109: "brachiocephalic_trunk",
    110: "left_brachiocephalic_vein",
    111: "right_brachiocephalic_vein",
    112: "left_common_carotid",
    113: "right_common_carotid",
    114: "costal_cartilage",
    115: "heart",
    116: "left_kidney_cyst",
    117: "right_kidney_cyst",
    118: "prostate",
    119: "pulmonary_vein",
    120: "skull",
    121: "spinal_cord",
    122: "sternum",
    123: "left_subclavian_artery",
    124: "right_subclavian_artery",
    125: "superior_vena_cava",
    126: "thyroid",
    127: "vertebra_S1",
    128: "bone_lesion",
    129: "kidney_mass",
    130: "liver_tumour",
    131: "vertebra_L6",
    132: "airway",
    200: "body",
}
LABEL_NAMES: dict[int, str] = {
    **_SINGLE,
    **LOBE_NAMES,
    **{33 + i: f"vertebra_L{5 - i}" for i in range(5)},
    **{38 + i: f"vertebra_T{12 - i}" for i in range(12)},
    **{50 + i: f"vertebra_C{7 - i}" for i in range(7)},
    **{63 + i: f"left_rib_{i + 1}" for i in range(12)},
    **{75 + i: f"right_rib_{i + 1}" for i in range(12)},
}
BONES: tuple[int, ...] = (*range(33, 57), *range(63, 98), 120, 122, 127)

#: Edges (mm) of the six cohort buckets, half-open: a lower edge belongs to its bucket, an upper one does not
#: (docs/facts/index-queries.md#size-buckets).
SIZE_EDGES: tuple[float, ...] = (5.0, 10.0, 15.0, 20.0, 30.0)
SizeBucket = Literal["<5mm", "5-10mm", "10-15mm", "15-20mm", "20-30mm", ">30mm"]
SIZE_BUCKETS: tuple[str, ...] = get_args(SizeBucket)
#: Range (mm) from which a trial's bucket is sampled; the limits of the two open buckets are ours.
SIZE_RANGES: dict[str, tuple[float, float]] = {
    "<5mm": (1.0, 5.0),
    "5-10mm": (5.0, 10.0),
    "10-15mm": (10.0, 15.0),
    "15-20mm": (15.0, 20.0),
    "20-30mm": (20.0, 30.0),
    ">30mm": (30.0, 60.0),
}
#: Edges (mm) of the four size classes that readers choose from (docs/facts/evaluation.md#tasks-and-answers).
ANSWER_EDGES: tuple[float, ...] = (5.0, 10.0, 20.0)
AnswerSize = Literal["<5mm", "5-10mm", "10-20mm", ">20mm"]
ANSWER_SIZES: tuple[str, ...] = get_args(AnswerSize)

_LOBE_ALIASES = {
    "lul": 28,
    "lll": 29,
    "rul": 30,
    "rml": 31,
    "rll": 32,
    "left_upper": 28,
    "left_lower": 29,
    "right_upper": 30,
    "right_middle": 31,
    "right_lower": 32,
}


def size_buckets(diameters_mm: npt.ArrayLike) -> list[str]:
    """The cohort bucket of each diameter in mm; every module buckets through this function.

    Raises:
        ValueError: a diameter is not a positive number.
    """
    values = np.asarray(diameters_mm, dtype=np.float64).reshape(-1)
    if not np.all(values > 0):
        raise ValueError(f"expected diameters > 0 mm, got {values[~(values > 0)][0]!r}")
    return [SIZE_BUCKETS[i] for i in np.searchsorted(SIZE_EDGES, values, side="right")]


def size_bucket(diameter_mm: float) -> str:
    """``size_buckets`` of one diameter."""
    return size_buckets([diameter_mm])[0]


def answer_size(diameter_mm: float) -> str:
    """The class (one of four) that a reader should answer for a diameter in mm.

    Raises:
        ValueError: the diameter is not a positive number.
    """
    if not diameter_mm > 0:
        raise ValueError(f"expected a diameter > 0 mm, got {diameter_mm!r}")
    return ANSWER_SIZES[int(np.searchsorted(ANSWER_EDGES, diameter_mm, side="right"))]


def lobe_label(text: str) -> int | None:
    """Label of a lobe given its canonical name or an alias such as ``RUL``; None if unknown."""
    name = text.strip().lower().replace(" ", "_")
    return LOBE_LABELS.get(name) or _LOBE_ALIASES.get(name)


def side_of_lobe(lobe: str) -> str:
    """``left`` or ``right`` of a canonical lobe name, ``unknown`` otherwise."""
    return lobe.split("_", 1)[0] if lobe in LOBE_LABELS else "unknown"


def equivalent_diameter(volume_mm3: float) -> float:
    """Diameter (mm) of the sphere of a volume (mm³): (6V/π)^(1/3)."""
    return float((6.0 * volume_mm3 / np.pi) ** (1.0 / 3.0))


def lung_mask(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """True where a label map (any shape) holds one of the five lobes; of its shape."""
    return np.asarray(labels - np.uint8(LUNG[0]) < len(LUNG))  # bytes below the first wrap round to large ones
