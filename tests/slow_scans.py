"""A scan that takes long enough to be stopped while it scores.

In: a folder. Out: a ``Place`` whose network waits at each batch, and whether the scan there is scoring.
"""

from pathlib import Path

from small_scans import Place, make_place

_NETWORK = """
import time, torch
from torch import nn

class Slow(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(5, 3)
    def forward(self, x):
        time.sleep({seconds})
        return self.head(x)

def make():
    torch.manual_seed(0)
    return Slow()
"""


def slow_place(folder: Path) -> Place:
    """2,000 samples; a batch takes 0.2 seconds."""
    place = make_place(folder, n=2000)
    wait(place, 0.2)
    place.write_config(model={"source": "python", "factory": "slow_network:make"})
    return place


def wait(place: Place, seconds: float) -> None:
    """Let each batch take so long."""
    (place.folder / "slow_network.py").write_text(_NETWORK.format(seconds=seconds))


def scoring(place: Place) -> bool:
    """Whether some samples are scored; the first rank tells so every five seconds."""
    file = place.folder / "run.running.json"
    told = file.read_text() if file.exists() else ""
    return '"scanning"' in told and '"done": 0,' not in told
