"""Seed sequences: the same draws for the same identity, in every version."""

import numpy as np

from itrialspace_assets.base.seeds import case_seed, case_seeds, child, named, sequence


def state(seed: np.random.SeedSequence) -> list[int]:
    return [int(v) for v in seed.generate_state(2)]


def test_sequence_is_that_of_a_spawn_key() -> None:
    assert state(sequence(42, 7, 0, 1)) == state(np.random.SeedSequence(42, spawn_key=(7, 0, 1)))
    assert state(sequence(42)) == state(np.random.SeedSequence(42))


def test_child_lengthens_the_key_and_leaves_its_parent_alone() -> None:
    parent = sequence(42, 7)
    assert state(child(parent, 0, 1)) == state(sequence(42, 7, 0, 1))
    assert state(child(parent, 0, 1)) == state(child(parent, 0, 1))
    assert parent.n_children_spawned == 0
    assert state(child(named(42, "host"), 3)) != state(child(named(42, "guest"), 3))


def test_named_depends_on_every_part_of_the_identity() -> None:
    seen = [state(named(*key)) for key in ((42, "a", "b"), (42, "ab"), (42, "b", "a"), (43, "a", "b"), (42, "a", 1))]
    assert len({tuple(s) for s in seen}) == len(seen)


def test_the_draws_of_published_results_do_not_change() -> None:
    assert state(sequence(42, 7, 0, 0)) == [1069229889, 172331965]
    assert state(child(sequence(42, 7), 5)) == [3993064296, 1004639868]
    assert state(named(42, "tissue", "host", 3)) == [3721517881, 1471084962]


def test_seeds_of_many_are_those_of_each() -> None:
    ids = ["a", "LUNA25/1", 'quoted "b"', "ü", ""]
    assert case_seeds(42, "trial", 3, last=ids).tolist() == [case_seed(42, "trial", 3, i) for i in ids]
    assert case_seeds(42, "trial", last=[]).tolist() == []
