"""For the ``Trainer`` of transformers: weights after each epoch, and the network with its tokenizer.

from ogacli.models.training.callbacks.huggingface import ScanCallback

Trainer(model, args, train_dataset=data, callbacks=[ScanCallback("runs/reviews-epochs")])
"""

from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from ogacli.errors import ConfigError
from ogacli.models.training.callbacks import EpochFolder

_TASKS = {"TokenClassification": "token_classification", "CausalLM": "causal_lm", "LMHead": "causal_lm"}
"""By a part of the class name of a network, the task of ``model: {source: transformers}``."""


class ScanCallback(TrainerCallback):
    """Saves each epoch, and at the end prints the command that scans by their trajectory.

    Args:
        folder: Where to save: ``epoch-001.safetensors``, .., and ``network``, for the ``name`` of the model.
        config: The config with the data section, as ``oga init DATA`` writes it.
    """

    def __init__(self, folder: str | Path, config: str | Path = "oga.yaml") -> None:
        self.epochs = EpochFolder(folder, config)

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **others: Any) -> None:
        """Check the folder and the network.

        Raises:
            RunError: An earlier training left its weights there.
            ConfigError: The network has adapters, which the Trainer saves by itself.
        """
        if hasattr(model, "peft_config"):
            raise ConfigError(
                "a network with adapters of PEFT",
                place="ScanCallback",
                expected="a network all of whose weights are trained",
                hint="leave the callback out; with save_strategy='epoch' the Trainer saves folders for "
                "`model.adapter`",
            )
        self.epochs.begin(resumed=state.global_step > 0)

    def on_epoch_end(self, args: Any, state: Any, control: Any, model: Any = None, **others: Any) -> None:
        """Save the weights."""
        if state.is_world_process_zero:
            self.epochs.write(model, max(1, round(state.epoch)), _classes(model))

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **others: Any) -> None:
        """Save the network and its tokenizer, and print the command."""
        if not state.is_world_process_zero:
            return
        network = self.epochs.path / "network"
        model.save_pretrained(network)
        tokenizer = others.get("processing_class") or others.get("tokenizer")
        if tokenizer is not None:
            tokenizer.save_pretrained(network)
        name = type(model).__name__
        task = next((task for part, task in _TASKS.items() if part in name), "classification")
        keys = {"source": "transformers", "task": task, "name": str(network)}
        print(f"next: {self.epochs.command(keys)}")


def _classes(model: Any) -> tuple[str, ...]:
    """The names of the classes; empty where they have only numbers."""
    names = getattr(model.config, "id2label", None) or {}
    known = tuple(str(names[i]) for i in sorted(names))
    return () if all(name.startswith("LABEL_") for name in known) else known
