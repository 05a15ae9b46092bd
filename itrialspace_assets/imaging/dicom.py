"""Writes DICOM: CT series, and segmentations over the grid of one.

UIDs come from hashes, so that equal content has equal UIDs and a segmentation refers to its series. Every file is
marked as synthetic. Nothing here knows a case.
"""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from pydicom.valuerep import DT

from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.imaging.geometry import Volume

#: SNOMED CT codes of the segmented property, from the context groups of DICOM PS3.16.
CATEGORY = ("49755003", "SCT", "Morphologically Altered Structure")
NODULE_CODE = ("27925004", "SCT", "Nodule")
MAKER = "iTrialSpace on Dagster"
#: Date and time of every file; fixed, so that equal content has equal bytes.
DATE, TIME = "20000101", "000000"


def uid_of(*identity: str) -> UID:
    """A UID from a hash (PS3.5 B.2: the root 2.25 and a whole number of at most 128 bits)."""
    return UID(f"2.25.{int(digest(list(identity), 32), 16)}")


def as_frames(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A volume (X, Y, Z) in RAS+ as frames (Z, rows, columns): rows run to the back, columns to the patient's left."""
    return np.ascontiguousarray(array[::-1, ::-1, :].transpose(2, 1, 0))


def series(grid: Volume, identity: str, frame: str, patient: str, description: str) -> list[Dataset]:
    """The headers of a CT series over a grid, inferior slice first, without pixels.

    Args:
        grid: gives shape and affine (mm, RAS+).
        identity: identity of the image; equal identities give equal UIDs.
        frame: identity of the anatomy; images of one host share their frame of reference.
        patient: patient id.
        description: description of the series.
    """
    nx, ny, nz = grid.array.shape
    corner = grid.to_world([nx - 1, ny - 1, 0])
    sx, sy, sz = (float(v) for v in grid.spacing)
    made = []
    for k in range(nz):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CTImageStorage
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = uid_of(identity, "slice", str(k))
        ds.StudyInstanceUID, ds.SeriesInstanceUID = uid_of(patient, "study"), uid_of(identity, "series")
        ds.FrameOfReferenceUID = uid_of(frame, "frame of reference")
        ds.PatientID, ds.PatientName, ds.PatientBirthDate, ds.PatientSex = patient[:64], "Synthetic^Case", "", ""
        ds.StudyDate = ds.SeriesDate = ds.ContentDate = ds.AcquisitionDate = DATE
        ds.StudyTime = ds.SeriesTime = ds.ContentTime = ds.AcquisitionTime = TIME
        ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "1", "", ""
        ds.Modality, ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber = "CT", 1, k + 1, 1
        ds.Manufacturer, ds.SeriesDescription = MAKER, description[:64]
        ds.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
        ds.PositionReferenceIndicator = ""
        ds.Rows, ds.Columns = ny, nx
        ds.PixelSpacing, ds.SliceThickness = [round(sy, 6), round(sx, 6)], round(sz, 6)
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.ImagePositionPatient = [
            round(float(-corner[0]), 6),
            round(float(-corner[1]), 6),
            round(float(corner[2]) + k * sz, 6),
        ]
        made.append(ds)
    return made


def ct_series(ct: Volume, identity: str, frame: str, patient: str, description: str) -> list[tuple[str, bytes]]:
    """A CT (HU, rounded to whole numbers) as the files of a DICOM series: name and bytes, inferior slice first.

    Equal inputs give equal bytes; every file says that its pixels are synthetic.

    Args:
        ct: HU in RAS+.
        identity: identity of the image, see ``series``.
        frame: identity of the anatomy, see ``series``.
        patient: patient id.
        description: description of the series, for example how the image was made.
    """
    frames = as_frames(np.rint(ct.array).astype(np.int16))
    made = []
    for k, ds in enumerate(series(ct, identity, frame, patient, description)):
        ds.SyntheticData = "YES"
        ds.KVP = ds.PatientPosition = None
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "HU"
        ds.WindowCenter, ds.WindowWidth = -600, 1500
        ds.PixelData = frames[k].tobytes()
        ds["PixelData"].VR = "OW"
        out = io.BytesIO()
        ds.save_as(out, enforce_file_format=True)
        made.append((f"{k + 1:04d}.dcm", out.getvalue()))
    return made


def segmentation(
    grid: Volume,
    lesions: Sequence[npt.NDArray[np.bool_]],
    labels: Sequence[str],
    identity: str,
    frame: str,
    patient: str,
    procedural: bool,
) -> bytes:
    """A DICOM segmentation with one segment a lesion; empty frames are left out.

    Args:
        grid: the grid of the masks (mm, RAS+).
        lesions: whole-volume masks (X, Y, Z), each with at least one voxel.
        labels: name of each lesion.
        identity: identity of the image that the masks belong to, see ``series``.
        frame: identity of the anatomy, see ``series``.
        patient: patient id.
        procedural: the anatomy is procedural; the series states it.
    """
    import highdicom as hd

    what = "nodules inserted into procedural anatomy" if procedural else "nodules inserted into real anatomy"
    sources = series(grid, identity, frame, patient, "lesion-free host")
    segments = [
        hd.seg.SegmentDescription(
            segment_number=i,
            segment_label=label[:64],
            segmented_property_category=hd.sr.CodedConcept(*CATEGORY),
            segmented_property_type=hd.sr.CodedConcept(*NODULE_CODE),
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=hd.AlgorithmIdentificationSequence(
                MAKER, hd.sr.CodedConcept("123109", "DCM", "Manual Processing"), "1"
            ),
        )
        for i, label in enumerate(labels, start=1)
    ]
    made = hd.seg.Segmentation(
        source_images=sources,
        pixel_array=np.stack([as_frames(mask) for mask in lesions], axis=-1).astype(np.uint8),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=uid_of(identity, "segmentation series"),
        series_number=2,
        sop_instance_uid=uid_of(identity, "segmentation", *labels),
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name=MAKER,
        software_versions="1",
        device_serial_number="0",
        content_label="INSERTED",
        content_description=what,
        series_description=what,
    )
    for name in ("ContentDate", "SeriesDate", "InstanceCreationDate"):
        setattr(made, name, DATE)
    for name in ("ContentTime", "SeriesTime", "InstanceCreationTime"):
        setattr(made, name, TIME)
    organisation = uid_of(identity, "dimensions")  # highdicom draws one
    for part in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        part.DimensionOrganizationUID = organisation
    for equipment in made.ContributingEquipmentSequence:
        equipment.ContributionDateTime = DT(DATE + TIME)
    out = io.BytesIO()
    made.save_as(out)
    return out.getvalue()
