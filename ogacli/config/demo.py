"""The demonstration: all steps on scikit-learn's digits, a tenth of the labels flipped.

In: a folder. Out: in it a config, the checkpoints of a small network, a run directory, a manifest; and what
retraining on all, on trimmed and on randomly trimmed samples showed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ogacli.base.atomic import check_free
from ogacli.base.device import one_thread
from ogacli.base.progress import SILENT, Progress
from ogacli.config import load_config
from ogacli.config.commands import scan, train, verify
from ogacli.run.directory import Run
from ogacli.run.trim import Trimmed, trim
from ogacli.scan.verify import Verification

CONFIG = """\
# Written by `oga demo`: scikit-learn's digits, a tenth of the training labels flipped.
# Try `oga scan` on it with another detector or budget.
data: {source: digits, split: train, flip: 0.1, flip_seed: 0}
model:
  source: mlp
  hidden: [256]
  checkpoint: checkpoints/epoch-*.safetensors    # all epochs: the last one has memorised wrong labels
gradients: {layers: head}
detector:                      # the first decides what is flagged; the others are for comparison
  - {name: latent_label}
  - {name: l2}
  - {name: isolation_forest, trees: 100, subsample: 256, seed: 0}
budget: 0.1
train: {epochs: 40, batch_size: 32, schedule: constant, output: checkpoints}
verify:
  seeds: 3
  test: {source: digits, split: test}
output: run
"""
_CONFIG_FILE = "config.yaml"


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo did and wrote."""

    folder: Path
    run: Run
    trimmed: Trimmed
    verification: Verification

    @property
    def config(self) -> Path:
        """The config that it ran."""
        return self.folder / _CONFIG_FILE

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "schema_version": 1,
            "config": str(self.config),
            "run": str(self.run.path),
            "report": str(self.run.path / "report.html"),
            "manifest": str(self.trimmed.path),
            "summary": self.run.summary.model_dump(mode="json"),
            "fates": dict(self.trimmed.fates),
            "verification": self.verification.document(),
        }


def demo(folder: str | Path, *, overwrite: bool = False, progress: Progress = SILENT) -> Demo:
    """Run the demo; ``folder`` holds its config, checkpoints, run directory and manifest afterwards.

    Raises:
        RunError: Something stands in the folder already.
    """
    destination = Path(folder).absolute()
    check_free(destination, overwrite=overwrite, ours=_is_demo)
    destination.mkdir(parents=True, exist_ok=True)
    (destination / _CONFIG_FILE).write_text(CONFIG, encoding="utf-8")
    config = load_config(destination / _CONFIG_FILE)
    with one_thread():
        train(config, overwrite=overwrite, progress=progress)
        run = scan(config, overwrite=overwrite, progress=progress)
        trimmed = trim(run, destination / "clean.csv", overwrite=overwrite)
        verification = verify(config, run, progress=progress)
    return Demo(destination, run, trimmed, verification)


def _is_demo(folder: Path) -> bool:
    """Whether the config in it, which is to be written again, is the demo's and nobody has changed it."""
    config = folder / _CONFIG_FILE
    return config.is_file() and not config.is_symlink() and config.read_bytes() == CONFIG.encode()
