"""Familiarity: what a branch has not seen, it knows."""

import numpy as np
import pytest
import torch

from attributree.nn.familiarity import LEAST, Familiarity

FEATURES, INNER = 24, 3


def pictures(n: int, *, seed: int, off: float = 0.0) -> torch.Tensor:
    """Features (n, 24) that vary in three directions, and by `off` in others."""
    rng = np.random.default_rng(seed)
    basis = np.random.default_rng(0).normal(size=(INNER, FEATURES))
    inside = rng.normal(size=(n, INNER)) @ basis
    return torch.from_numpy(inside + rng.normal(0, 0.05 + off, (n, FEATURES))).float()


def familiarity(n: int = 400, seed: int = 0) -> Familiarity:
    found = Familiarity.of(pictures(n, seed=1), np.arange(n), seed)
    assert found
    return found


def test_two_in_a_hundred_of_the_same_kind_are_called_unlike_them() -> None:
    novelty = familiarity().novelty(pictures(5000, seed=2))
    assert 0.01 < float((novelty > 1).float().mean()) < 0.035


def test_pictures_off_what_was_learnt_are_unlike_it_however_near_to_the_mean() -> None:
    assert float((familiarity().novelty(pictures(200, seed=3, off=0.3)) > 1).float().mean()) > 0.99


def test_a_few_pictures_of_another_kind_do_not_vouch_for_all_of_it() -> None:
    few = torch.cat([pictures(400, seed=1), pictures(20, seed=7, off=0.3)])
    found = Familiarity.of(few, np.arange(420), 0)
    assert found
    assert float((found.novelty(pictures(200, seed=8, off=0.3)) > 1).float().mean()) > 0.9
    many = torch.cat([pictures(400, seed=1), pictures(400, seed=7, off=0.3)])
    known = Familiarity.of(many, np.arange(800), 0)
    assert known
    assert float((known.novelty(pictures(200, seed=8, off=0.3)) > 1).float().mean()) < 0.1


def test_it_comes_back_from_what_is_stored_and_does_not_depend_on_chance() -> None:
    found, again = familiarity(), familiarity()
    back = Familiarity.from_weights(found.weights())
    some = pictures(50, seed=5)
    assert torch.equal(back.novelty(some), found.novelty(some))
    assert all(torch.equal(part, again.weights()[name]) for name, part in found.weights().items())


def test_half_precision_features_are_taken() -> None:
    some = pictures(50, seed=5)
    assert torch.allclose(familiarity().novelty(some.half()), familiarity().novelty(some), rtol=0.2)


def test_too_few_pictures_or_one_product_alone_say_nothing() -> None:
    assert Familiarity.of(pictures(LEAST - 1, seed=1), np.arange(LEAST - 1), 0) is None
    assert Familiarity.of(pictures(LEAST, seed=1), np.zeros(LEAST, dtype=np.int64), 0) is None


def test_pictures_of_a_product_are_held_out_together() -> None:
    """Copies of the same picture would else vouch for each other."""
    some = pictures(120, seed=6, off=0.5)
    copies, products = some.repeat(4, 1), np.tile(np.arange(120), 4)
    together, apart = Familiarity.of(copies, products, 0), Familiarity.of(copies, np.arange(480), 0)
    assert together
    assert apart
    assert float(together.cut) > float(apart.cut)


def test_features_that_never_vary_are_no_obstacle() -> None:
    flat = pictures(200, seed=1)
    flat[:, :5] = 1.0
    found = Familiarity.of(flat, np.arange(200), 0)
    assert found
    assert bool(torch.isfinite(found.novelty(flat)).all())
    with pytest.raises(TypeError):
        Familiarity.from_weights({"mean": flat[0]})
