"""With the Trainer of Lightning: train, and type the command that was printed."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from command_line import oga
from ogacli.errors import ConfigError, RunError
from ogacli.models.checkpoints import read_weights

pytestmark = pytest.mark.filterwarnings("ignore")  # of the library
X = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


def make() -> nn.Module:
    """A factory."""
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))


@pytest.fixture
def fit() -> Any:
    lightning = pytest.importorskip("lightning.pytorch")

    class Learner(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = make()
            self.weight = nn.Parameter(torch.ones(2))

        def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
            return nn.functional.cross_entropy(self.net(batch[0]) * self.weight, batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=0.05)

    def run(folder: Path, **options: Any) -> Any:
        from ogacli.models.training.callbacks.lightning import ScanCallback

        learner = Learner()
        trainer = lightning.Trainer(
            max_epochs=2,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[ScanCallback(folder / "epochs", folder / "oga.yaml", **options)],
        )
        trainer.fit(learner, DataLoader(TensorDataset(X, Y), batch_size=20))
        return learner

    return run


@pytest.mark.parametrize("options", [{}, {"network": "net"}])
def test_the_printed_command_scans(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fit: Any, options: dict[str, str]
) -> None:
    learner = fit(tmp_path, **options)
    files = sorted((tmp_path / "epochs").iterdir())
    assert [path.name for path in files] == ["epoch-001.safetensors", "epoch-002.safetensors"]
    own = (learner.net if options else learner).state_dict()
    last = read_weights(str(files[1]))
    assert last.keys() == own.keys()
    assert all(torch.equal(last[name], own[name]) for name in own)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("next: ")]
    np.savez(tmp_path / "d.npz", x=X.numpy(), y=Y.numpy())
    config = {
        "data": {"source": "arrays", "path": "d.npz", "x": "x", "y": "y"},
        "model": {"source": "python", "factory": "net_of_lightning:make"},
        "detector": "l2",
        "output": "run",
    }
    (tmp_path / "oga.yaml").write_text(json.dumps(config))
    (tmp_path / "net_of_lightning.py").write_text(
        "from torch.nn import *\n\n\ndef make():\n    return Sequential(Linear(4, 5), ReLU(), Linear(5, 2))\n"
    )
    done = oga(*shlex.split(line.removeprefix("next: "))[1:], cwd=tmp_path)
    assert done.code == 0, done.err
    used = json.loads((tmp_path / "run" / "provenance.json").read_text())["checkpoints"]
    assert [Path(name).name for name in used] == [path.name for path in files]
    with pytest.raises(RunError, match="an earlier training left its weights there"):
        fit(tmp_path, **options)


def test_a_network_that_is_not_there(tmp_path: Path, fit: Any) -> None:
    with pytest.raises(ConfigError, match=r"no such network\n  expected: one of net"):
        fit(tmp_path, network="model")
    assert not (tmp_path / "epochs").exists()
