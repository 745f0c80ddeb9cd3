"""``oga demo``: all steps on scikit-learn's digits with a tenth of the labels flipped.

In: a folder. Out: a config, checkpoints of a small network, a run directory and a manifest in it; and the
test accuracies after retraining on all, on trimmed and on randomly trimmed samples.
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
from ogacli.scan.retraining.arms import Verification

CONFIG = """\
# Written by `oga demo`: scikit-learn's digits, a tenth of the training labels flipped.
# Try `oga scan` on it with another detector or budget.
data: {source: digits, split: train, flip: 0.1, flip_seed: 0}
model:
  source: mlp
  hidden: [256]
  checkpoint: checkpoints/epoch-*.safetensors    # all epochs; the last ones have memorised wrong labels
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
    """The results of the demo."""

    folder: Path
    run: Run
    trimmed: Trimmed
    verification: Verification

    @property
    def config(self) -> Path:
        """The config file."""
        return self.folder / _CONFIG_FILE

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "schema_version": 1,
            "config": str(self.config),
            "run": str(self.run.path),
            "report": str(self.run.path / "report.html"),
            "manifest": str(self.trimmed.manifest),
            "summary": self.run.summary.model_dump(mode="json"),
            "fates": dict(self.trimmed.fates),
            "verification": self.verification.document(),
        }


def demo(folder: str | Path, *, overwrite: bool = False, progress: Progress = SILENT) -> Demo:
    """Run the demo; its config, checkpoints, run directory and manifest are written to ``folder``.

    Raises:
        RunError: The folder is not empty; with ``overwrite``, it holds something else than an unchanged demo.
    """
    destination = Path(folder).absolute()
    check_free(destination, overwrite=overwrite, ours=_is_demo)
    destination.mkdir(parents=True, exist_ok=True)
    (destination / _CONFIG_FILE).write_text(CONFIG, encoding="utf-8")
    config = load_config(destination / _CONFIG_FILE)
    with one_thread():
        train(config, overwrite=overwrite, progress=progress)
        run = scan(config, overwrite=overwrite, progress=progress)
        trimmed = trim(run, manifest=destination / "manifest.csv", overwrite=overwrite)
        verification = verify(config, run, progress=progress)
    return Demo(destination, run, trimmed, verification)


def _is_demo(folder: Path) -> bool:
    """Whether the folder holds the demo's config, unchanged."""
    config = folder / _CONFIG_FILE
    return config.is_file() and not config.is_symlink() and config.read_bytes() == CONFIG.encode()
