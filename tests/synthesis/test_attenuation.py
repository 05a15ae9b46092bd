"""The table of tissues: each value lies in the range that its source gives, and every label of a map has one."""

import numpy as np

from itrialspace_assets.imaging.anatomy import LABEL_NAMES, LUNG
from itrialspace_assets.synthesis.attenuation import LUNG_BACK_HU, LUNG_FRONT_HU, MEAN_HU, SOFT, TISSUES
from itrialspace_assets.synthesis.quality import BANDS


def test_every_value_lies_in_its_published_range() -> None:
    for name, tissue in TISSUES.items():
        assert tissue.low <= tissue.hu <= tissue.high, name
        assert tissue.source and (MEAN_HU[list(tissue.labels)] == tissue.hu).all(), name


def test_no_label_has_two_tissues() -> None:
    labels = [label for tissue in TISSUES.values() for label in tissue.labels]
    assert len(labels) == len(set(labels))
    assert not set(labels) & set(LUNG)


def test_organs_lie_inside_the_bands_that_images_must_keep() -> None:
    for name, (labels, low, high) in BANDS.items():
        assert ((MEAN_HU[list(labels)] > low) & (MEAN_HU[list(labels)] < high)).all(), name


def test_what_the_table_does_not_name_is_soft_tissue_and_lung_is_aerated() -> None:
    named = {label for tissue in TISSUES.values() for label in tissue.labels} | set(LUNG)
    rest = sorted(set(LABEL_NAMES) - named)
    assert rest and (MEAN_HU[rest] == SOFT.hu).all()
    np.testing.assert_array_equal(MEAN_HU[list(LUNG)], (LUNG_FRONT_HU + LUNG_BACK_HU) / 2)
