"""Writes DICOM structured reports: what is known of the segments of a DICOM segmentation, as measurements.

Template TID 1500 of DICOM PS3.16, by highdicom; codes are those of pydicom's dictionary of PS3.16. UIDs and bytes
follow from content alone. Nothing here knows a case.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import pydicom

from itrialspace_assets.imaging.dicom import DATE, MAKER, TIME, uid_of

#: Lobes as pydicom's dictionary codes them: keyword of the lobe, and of its side.
_LOBES = {
    "right_lung_upper_lobe": ("UpperLobeOfLung", "Right"),
    "right_lung_middle_lobe": ("MiddleLobeOfRightLung", "Right"),
    "right_lung_lower_lobe": ("LowerLobeOfLung", "Right"),
    "left_lung_upper_lobe": ("UpperLobeOfLung", "Left"),
    "left_lung_lower_lobe": ("LowerLobeOfLung", "Left"),
}
#: Scheme of codes that no standard has; PS3.16 wants 99 first.
_OWN = "99ITRIALSPACE"


@dataclass(frozen=True)
class SegmentTruth:
    """What is known of a segment: lobe, diameter (mm), volume (mm³), label (1 malignant, 0 benign; None: unknown)."""

    lobe: str
    diameter_mm: float
    volume_mm3: float
    label: int | None


def truth_report(segmentation: bytes, truth: Sequence[SegmentTruth], description: str) -> bytes:
    """A report with one group of measurements a segment.

    Args:
        segmentation: the DICOM segmentation, see ``dicom.segmentation``.
        truth: of its segments, in their order.
        description: description of the series.
    """
    import highdicom as hd
    from pydicom.sr.codedict import codes

    seg = pydicom.dcmread(io.BytesIO(segmentation))
    source = hd.sr.SourceSeriesForSegmentation(seg.ReferencedSeriesSequence[0].SeriesInstanceUID)
    identity = str(seg.SOPInstanceUID)
    groups = []
    for number, known in enumerate(truth, start=1):
        place, side = _LOBES[known.lobe]
        said = {None: "unknown", 0: "benign", 1: "malignant"}[known.label]
        groups.append(
            hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
                hd.sr.TrackingIdentifier(uid_of(identity, "segment", str(number)), f"nodule {number}"),
                referenced_segment=hd.sr.ReferencedSegment(
                    seg.SOPClassUID, seg.SOPInstanceUID, number, source_series=source
                ),
                finding_type=codes.SCT.Nodule,
                finding_sites=[hd.sr.FindingSite(getattr(codes.SCT, place), getattr(codes.SCT, side))],
                measurements=[
                    hd.sr.Measurement(codes.SCT.Diameter, known.diameter_mm, codes.UCUM.Millimeter),
                    hd.sr.Measurement(codes.SCT.Volume, known.volume_mm3, codes.UCUM.CubicMillimeter),
                ],
                qualitative_evaluations=[
                    hd.sr.QualitativeEvaluation(
                        hd.sr.CodedConcept("label", _OWN, "Label of the donor nodule"),
                        hd.sr.CodedConcept(said, _OWN, said),
                    )
                ],
            )
        )
    device = hd.sr.ObserverContext(
        codes.DCM.Device, hd.sr.DeviceObserverIdentifyingAttributes(uid_of(MAKER), name=MAKER)
    )
    report = hd.sr.Comprehensive3DSR(
        evidence=[seg],
        content=hd.sr.MeasurementReport(
            hd.sr.ObservationContext(observer_device_context=device),
            procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
            imaging_measurements=groups,
        ),
        series_instance_uid=uid_of(identity, "report series"),
        series_number=3,
        sop_instance_uid=uid_of(identity, "report"),
        instance_number=1,
        manufacturer=MAKER,
        is_complete=True,
    )
    report.SeriesDescription = description[:64]
    for name in ("ContentDate", "SeriesDate", "InstanceCreationDate"):
        setattr(report, name, DATE)
    for name in ("ContentTime", "SeriesTime", "InstanceCreationTime"):
        setattr(report, name, TIME)
    for equipment in report.get("ContributingEquipmentSequence", ()):
        equipment.ContributionDateTime = f"{DATE}{TIME}"
    out = io.BytesIO()
    report.save_as(out, enforce_file_format=True)
    return out.getvalue()
