import pytest
import torch

from ogacli.base.seeding import seeded
from stand_in import SEEDED


def test_a_seed_decides_and_the_random_state_is_left_as_it_was():
    before, cpu = torch.get_rng_state(), torch.device("cpu")
    found = []
    for seed in (1, 1, 2):
        with seeded(seed, cpu):
            found.append(torch.rand(3))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("tf32", [True, False])
def test_cudnn_stays_enabled_while_it_is_deterministic(monkeypatch, tf32):
    cudnn = torch.backends.cudnn

    def settings() -> tuple[bool, ...]:
        return cudnn.enabled, cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32

    monkeypatch.setattr(cudnn, "allow_tf32", tf32)
    before = settings()
    assert before[0], "as torch has it"
    with seeded(1, torch.device("cpu")):
        assert settings() == (True, True, False, tf32)
    assert settings() == before


def test_only_the_generators_of_the_cpu_and_the_device_are_seeded(counts):
    SEEDED.clear()
    with seeded(1, torch.device("cpu")):
        pass
    assert not SEEDED
    with seeded(1, torch.device("standin", 1)):
        pass
    assert SEEDED == [1]
