"""Writes small DICOM and XML files of a known volume, for tests that read them back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    RTStructureSetStorage,
    generate_uid,
)

from itrialspace_assets.imaging.geometry import Volume

SERIES, STUDY, FRAME = (generate_uid(entropy_srcs=[x]) for x in ("series", "study", "frame"))


def _base(path: Path, kind: str, uid: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID = (
        kind,
        uid,
        ExplicitVRLittleEndian,
    )
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID, data.StudyInstanceUID, data.FrameOfReferenceUID = kind, uid, STUDY, FRAME
    data.PatientID, data.PatientName, data.PatientAge, data.PatientSex = "P7", "test^procedural", "061Y", "F"
    data.StudyDate = data.ContentDate = "20000101"
    data.StudyTime = data.ContentTime = "000000"
    data.PatientBirthDate, data.AccessionNumber, data.StudyID, data.ReferringPhysicianName = "", "", "1", ""
    return data


def write_series(
    folder: Path, ct: Volume, skip: tuple[int, ...] = (), change: Callable[[int, Any], None] | None = None
) -> list[FileDataset]:
    """A CT volume (HU, RAS+) as axial slices, columns to the patient's left and rows to the back.

    ``change`` alters the header of slice k before it is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    nx, ny, nz = ct.array.shape
    out = []
    for k in range(nz):
        uid = generate_uid(entropy_srcs=["slice", str(k)])
        data = _base(folder / f"{k:03d}.dcm", CTImageStorage, uid)
        data.Modality, data.SeriesInstanceUID, data.SeriesNumber, data.InstanceNumber = "CT", SERIES, 1, nz - k
        world = ct.to_world([nx - 1, ny - 1, k])  # first pixel: right and front of the patient
        data.ImagePositionPatient = [float(-world[0]), float(-world[1]), float(world[2])]
        data.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        data.PixelSpacing, data.SliceThickness = [float(ct.spacing[1]), float(ct.spacing[0])], float(ct.spacing[2])
        data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = ny, nx, 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
        data.RescaleSlope, data.RescaleIntercept = 1, -1024
        pixels = (ct.array[::-1, ::-1, k].T.astype(np.int32) + 1024).astype(np.int16)
        data.PixelData = np.ascontiguousarray(pixels).tobytes()
        if change:
            change(k, data)
        if k not in skip:
            data.save_as(folder / f"{k:03d}.dcm", enforce_file_format=True)
        out.append(data)
    return out


def write_multiframe(path: Path, ct: Volume) -> Any:
    """A CT volume (HU, RAS+) as one enhanced CT; frames from superior to inferior, each with a rescale of its own."""
    nx, ny, nz = ct.array.shape
    data = _base(path, EnhancedCTImageStorage, generate_uid(entropy_srcs=["multi-frame"]))
    data.Modality, data.SeriesInstanceUID, data.SeriesNumber, data.InstanceNumber = "CT", SERIES, 1, 1
    data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = ny, nx, 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
    data.NumberOfFrames, pixels = nz, []
    shared, data.PerFrameFunctionalGroupsSequence = Dataset(), pydicom.Sequence()
    measures, turned = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [float(ct.spacing[1]), float(ct.spacing[0])], 1
    turned.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [turned]
    data.SharedFunctionalGroupsSequence = [shared]
    for k in reversed(range(nz)):
        own, place, value = Dataset(), Dataset(), Dataset()
        world = ct.to_world([nx - 1, ny - 1, k])
        place.ImagePositionPatient = [float(-world[0]), float(-world[1]), float(world[2])]
        value.RescaleSlope, value.RescaleIntercept, value.RescaleType = 1, -1000 - k, "HU"
        own.PlanePositionSequence, own.PixelValueTransformationSequence = [place], [value]
        data.PerFrameFunctionalGroupsSequence.append(own)
        pixels.append((ct.array[::-1, ::-1, k].T.astype(np.int32) + 1000 + k).astype(np.int16))
    data.PixelData = np.stack(pixels).tobytes()
    data["PixelData"].VR = "OW"
    data.save_as(path, enforce_file_format=True)
    return data


def write_seg(
    path: Path,
    series: list[FileDataset],
    masks: dict[str, np.ndarray],
    kind: str = "BINARY",
    types: dict[str, Any] | None = None,
) -> None:
    """Masks (RAS+) as a DICOM-SEG over a series; ``types``: coded property of a segment by name, else a nodule."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    algorithm = hd.AlgorithmIdentificationSequence("test", codes.DCM.ArtificialIntelligence, "1")
    described = [
        hd.seg.SegmentDescription(
            i,
            name,
            codes.SCT.Lesion,
            (types or {}).get(name, codes.SCT.Nodule),
            hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm,
        )
        for i, name in enumerate(masks, 1)
    ]
    planes = np.stack(
        [
            np.stack([m[::-1, ::-1, k].T for m in masks.values()], axis=-1)
            for k in range(next(iter(masks.values())).shape[2])
        ]
    )
    made = hd.seg.Segmentation(
        series,
        planes.astype(np.float32 if kind == "FRACTIONAL" else np.uint8),
        hd.seg.SegmentationTypeValues[kind],
        described,
        generate_uid(entropy_srcs=["seg series", path.name]),
        2,
        generate_uid(entropy_srcs=["seg", path.name]),
        1,
        "test",
        "test",
        "1",
        "1",
    )
    organisation = generate_uid(entropy_srcs=["dimensions", path.name])  # highdicom draws one, and reads the clock
    for part in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        part.DimensionOrganizationUID = organisation
    for equipment in made.ContributingEquipmentSequence:
        equipment.ContributionDateTime = "20000101000000"
    for name in ("ContentDate", "SeriesDate", "InstanceCreationDate"):
        setattr(made, name, "20000101")
    for name in ("ContentTime", "SeriesTime", "InstanceCreationTime"):
        setattr(made, name, "000000")
    made.save_as(path)


def write_rtstruct(
    path: Path, ct: Volume, regions: dict[str, dict[float, list[np.ndarray]]], kind: str = "CLOSED_PLANAR"
) -> FileDataset:
    """Contours (voxel x and y of plane z, RAS+) as an RTSTRUCT."""
    data = _base(path, RTStructureSetStorage, generate_uid(entropy_srcs=["rtstruct", path.name]))
    data.Modality, data.SeriesInstanceUID = "RTSTRUCT", generate_uid(entropy_srcs=["rtstruct series", path.name])
    data.StructureSetROISequence, data.ROIContourSequence = pydicom.Sequence(), pydicom.Sequence()
    for number, (name, planes) in enumerate(regions.items(), 1):
        roi = Dataset()
        roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID, roi.ROIGenerationAlgorithm = (
            number,
            name,
            FRAME,
            "MANUAL",
        )
        data.StructureSetROISequence.append(roi)
        drawn = Dataset()
        drawn.ReferencedROINumber, drawn.ContourSequence = number, pydicom.Sequence()
        for k, contours in planes.items():
            for contour in contours:
                item = Dataset()
                world = ct.to_world(np.column_stack([contour, np.full(len(contour), k)])) * [-1, -1, 1]
                item.ContourGeometricType, item.NumberOfContourPoints = kind, len(contour)
                item.ContourData = [round(float(v), 4) for v in world.ravel()]
                drawn.ContourSequence.append(item)
        data.ROIContourSequence.append(drawn)
    data.save_as(path, enforce_file_format=True)
    return data


def lidc_xml(ct: Volume, readers: list[dict[int, list[tuple[int, int]]]]) -> str:
    """A LIDC reading file: for each reader a nodule, its edge pixels (canonical x, y) by plane."""
    nx, ny, _ = ct.array.shape
    sessions = []
    for number, planes in enumerate(readers):
        rois = "".join(
            f"<roi><imageZposition>{ct.to_world([0, 0, k])[2]}</imageZposition><inclusion>TRUE</inclusion>"
            + "".join(f"<edgeMap><xCoord>{nx - 1 - x}</xCoord><yCoord>{ny - 1 - y}</yCoord></edgeMap>" for x, y in edge)
            + "</roi>"
            for k, edge in planes.items()
        )
        sessions.append(
            f"<readingSession><unblindedReadNodule><noduleID>R{number}</noduleID>{rois}</unblindedReadNodule></readingSession>"
        )
    return f'<?xml version="1.0"?><LidcReadMessage xmlns="http://www.nih.gov">{"".join(sessions)}</LidcReadMessage>'
