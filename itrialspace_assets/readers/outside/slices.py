"""Requests about slices as files that a program outside reads, and its answers, checked. Runs nothing."""

from collections.abc import Sequence
from pathlib import Path

from itrialspace_assets.imaging.pictures import png
from itrialspace_assets.readers.api import Generation, Request
from itrialspace_assets.readers.outside.messages import SliceAnswer, SliceQuestion, SlicesRequest, SlicesResult, parse
from itrialspace_assets.readers.outside.scans import REQUEST, RESULT


def write_requests(folder: Path, requests: Sequence[Request]) -> None:
    """Write ``request.json`` and the pictures; a request's id is its place.

    Args:
        folder: input folder.
        requests: what is asked.
    """
    asked = []
    for number, request in enumerate(requests):
        names = tuple(f"{number:05}_{z}.png" for z in range(len(request.pictures)))
        for name, picture in zip(names, request.pictures, strict=True):
            (folder / name).write_bytes(png(picture))
        asked.append(
            SliceQuestion(
                id=f"{number:05}",
                task=request.task,
                question=request.prompt,
                options=request.options,
                pictures=names,
                pixel_mm=request.pixel_mm,
            )
        )
    (folder / REQUEST).write_text(SlicesRequest(requests=tuple(asked)).model_dump_json())


def read_answers(data: bytes, requests: Sequence[Request]) -> list[Generation]:
    """What was returned for each request, in their order; a request without an answer has failed.

    Args:
        data: bytes of the result.
        requests: as they were asked.

    Raises:
        ValueError: the result breaks its format, or holds an id twice or one that was not asked.
    """
    answers: dict[str, SliceAnswer] = {}
    for answer in parse(SlicesResult, data, RESULT).answers:
        if answer.id in answers or not (
            answer.id.isdecimal() and len(answer.id) == 5 and int(answer.id) < len(requests)
        ):
            raise ValueError(f"{RESULT}: expected each id of {REQUEST} once, got {answer.id!r}")
        answers[answer.id] = answer
    return [_generation(answers.get(f"{number:05}"), request) for number, request in enumerate(requests)]


def _generation(answer: SliceAnswer | None, request: Request) -> Generation:
    if answer is None:
        return Generation(failure="the program returned nothing for it")
    if answer.error is not None:
        return Generation(failure=f"the program says: {answer.error}")
    if answer.text is None and answer.option_scores is None:
        return Generation(failure="expected a text or scores of the options, got neither")
    scores = answer.option_scores
    if scores is not None and set(scores) != set(request.options):
        return Generation(failure=f"expected scores of {', '.join(request.options)}, got {', '.join(scores) or 'none'}")
    return Generation(answer.text, None if scores is None else tuple(scores[option] for option in request.options))
