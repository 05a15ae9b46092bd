"""Versions of the words: unchanged once published, complete, and written into requests in their order."""

from collections.abc import Callable
from typing import Any

import pytest

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.readers.prompts import DEFAULT, read_version, version_sha256, versions
from itrialspace_assets.readers.registry import readers
from itrialspace_assets.readers.requests import requests_of
from itrialspace_assets.records.store import read_table
from itrialspace_assets.records.tables import TASK_OPTIONS
from tests.readers.conftest import WHERE
from tests.readers.test_parsing import read as read_text

#: SHA-256 of every version. Never change one: add a file with other ids, and its hash here.
PUBLISHED = {
    "plain_1": "b0e2cafe74e15cb378cae18c30d47855697ff588fd1ff3ef6a973858f1568c0f",
    "published_1": "f109ce7151ca96f4048ee0fc62ae1e30918b0d8ab7efc6a777fdeceb4a82989f",
}


def test_a_published_version_is_as_it_was() -> None:
    assert {name: version_sha256(name) for name in versions()} == PUBLISHED


def test_ids_are_of_one_version_and_each_says_its_options() -> None:
    every = [(name, task, p) for name in versions() for task, p in read_version(name).prompts.items()]
    assert len({p.id for _, _, p in every}) == len(every)
    assert set(read_version(DEFAULT).prompts) == set(TASK_OPTIONS)
    for _, task, prompt in every:
        assert prompt.text != prompt.paraphrase
        assert "{options}" in prompt.text
        assert "{options}" in prompt.paraphrase
        for option, words in prompt.options.items():
            assert read_text("text", task, words) == option, "the strict parser reads what the question lists"


def asked(study: Callable[..., Settings], entry: str, control: str = "none") -> dict[str, tuple[Any, ...]]:
    """``prompt_id``, ``prompt`` and ``options`` of each task of the mock reader."""
    settings = study(2, entry)
    rows = requests_of(readers(settings)["mock"], read_table(settings.output, "slices", **WHERE))
    rows = rows.filter(control=control).unique("task")
    return {row["task"]: (row["prompt_id"], row["prompt"], row["options"]) for row in rows.iter_rows(named=True)}


def test_a_version_decides_words_and_order(study: Callable[..., Settings]) -> None:
    lobes = [
        "right_lung_upper_lobe", "right_lung_middle_lobe", "right_lung_lower_lobe", "left_lung_upper_lobe",
        "left_lung_lower_lobe",
    ]  # fmt: skip
    got = asked(study, "prompts: published_1, controls: [options_rotated]")
    assert got["presence"][1:] == (
        "Can a pulmonary nodule be seen on this CT slice? Answer with one word only: yes, no.",
        ["present", "absent"],
    )
    assert got["lobe"][2] == lobes
    turned = asked(study, "prompts: published_1, controls: [options_rotated]", "options_rotated")
    assert turned["lobe"][2] == [*lobes[1:], lobes[0]]
    assert turned["presence"][1].endswith(": no, yes.")
    assert asked(study, "")["lobe"][0] == "lobe_1"
    own = "prompts: {size: {id: mine, text: 'Wide? {options}', paraphrase: 'x', options: {'>20mm': d, '<5mm': a, "
    own += "'5-10mm': b, '10-20mm': c}}}"
    assert asked(study, own)["size"] == ("mine", "Wide? d, a, b, c", [">20mm", "<5mm", "5-10mm", "10-20mm"])


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("prompts: publishd_1", "expected a version out of plain_1, published_1, .* did you mean 'published_1'"),
        ("prompts: published_1, tasks: [malignancy]", "expected words for malignancy; the version published_1 has"),
        ("prompts: {size: {id: a, text: b, paraphrase: c, options: {x: y}}}", "expected every option of a task once"),
        ("prompts: {size: {id: a, text: b, paraphrase: c, options: {present: y, absent: n}}}", "size.options:"),
        ("prompts: {presence: {id: a, text: b, paraphrase: c, options: {present: y, absent: y}}}", "other words"),
        ("prompts: {size: {id: a, txt: b, paraphrase: c}}", "did you mean 'text'"),
    ],
)  # fmt: skip
def test_wrong_words_are_refused(study: Callable[..., Settings], entry: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        readers(study(2, entry))


def test_keys_of_earlier_requests_are_kept(study: Callable[..., Settings]) -> None:
    """What was asked before there were versions of words is not asked again: the keys were written down then."""
    settings = study(2)
    rows = requests_of(readers(settings)["mock"], read_table(settings.output, "slices", **WHERE))
    first = rows.filter(slice_uid="s0000", condition="plain").sort("task")["generation_key"].to_list()
    assert first == [
        "9cd0a47b9f936b4e98b615fa1ed76962",
        "32d78a195eeb8e1e15a55e93c4825f99",
        "733df7546f2468e30cda53ba0f628df1",
    ]
