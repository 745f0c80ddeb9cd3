"""Far samples among distances that are known."""

import torch

from ogacli.verdict.far import outstanding


def distances(n: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, generator=torch.Generator().manual_seed(seed)).exp()


def far(distance: torch.Tensor, group: torch.Tensor | None = None) -> list[int]:
    group = torch.zeros(len(distance), dtype=torch.int64) if group is None else group
    return (~outstanding(distance, group).isnan()).nonzero()[:, 0].tolist()


def test_what_stands_out_is_told_with_its_multiple():
    distance = distances(1000)
    distance[[3, 500]] = torch.tensor([20.0, 8.0])
    distance[7] = torch.nan
    found = outstanding(distance, torch.zeros(1000, dtype=torch.int64))
    assert far(distance) == [3, 500]
    known = distance[~distance.isnan()]
    torch.testing.assert_close(found[3], 20 / known.median())


def test_each_class_is_compared_with_itself():
    """What is usual in a class of large distances is far in another one."""
    distance = torch.cat([distances(500), 10 * distances(500, 1)])
    group = torch.arange(1000) // 500
    distance[3] = 9.0
    assert far(distance, group) == [3]
    assert far(distance) == []


def test_a_small_class_is_compared_with_all():
    distance = torch.cat([distances(500), torch.full((10,), 30.0)])
    assert far(distance, torch.cat([torch.zeros(500), torch.ones(10)]).long()) == list(range(500, 506))


def test_no_more_than_one_in_a_hundred_is_told():
    distance = distances(1000)
    distance[:50] *= 100
    assert len(far(distance)) == 10


def test_the_unit_of_the_distances_does_not_matter():
    distance = distances(2000) ** 8
    assert far(distance) == far(1000 * distance)


def test_few_or_equal_distances():
    assert far(torch.cat([distances(40), torch.tensor([1000.0])])) == []
    assert far(torch.ones(200)) == []
    assert far(torch.full((200,), torch.nan)) == []
