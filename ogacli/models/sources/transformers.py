"""Networks of the library transformers: classifiers of texts, taggers of words, causal language models.

In: a folder that ``save_pretrained`` wrote, or a name on the hub; optionally adapters and a checkpoint of
``oga train``. Out: the network, and its samples as tokens.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import BeforeValidator, Field, ValidationInfo, model_validator
from torch import nn

from ogacli.base.options import Location, locate
from ogacli.data import Samples
from ogacli.data.labels.label_types import Numbers
from ogacli.errors import CheckpointError, ConfigError
from ogacli.models.checkpoints import trained_classes
from ogacli.models.checkpoints.class_names import proper, same_order
from ogacli.models.network import Network
from ogacli.models.sources import Fit, NetworkSource, Snapshot, sources
from ogacli.models.text.adapters import LoraOptions, add_adapters, load_adapter
from ogacli.models.text.folders import folders, several, tokenizer_folder
from ogacli.models.text.loading import telling
from ogacli.models.text.remote_code import refuse_code
from ogacli.models.text.tags import TagEncoder, WordLogits
from ogacli.models.text.token_losses import TokenLosses
from ogacli.models.text.tokens import Encoder, LanguageEncoder, TokenReader

_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")
_VOCABULARY = 0.5
"""A tokenizer with a smaller share of the network's tokens belongs to another network."""
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_HEADED = {"classification": "SequenceClassification", "token_classification": "TokenClassification"}
"""By task, a part of the class name of a network with a head for it."""


def _folder_or_name(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, str) or not value:
        return value
    folder = locate(value, (info.context or {}).get("base", Path.cwd()))
    return value if _HUB_NAME.fullmatch(value) and not Path(folder).is_dir() else folder


Pretrained = Annotated[str, BeforeValidator(_folder_or_name)]
"""A folder, relative to the config's own file, or a name on the hub."""


@sources.register
class Transformers(NetworkSource):
    """A pretrained or fine-tuned network of the library transformers."""

    name: Pretrained | Annotated[tuple[Pretrained, ...], Field(min_length=1)]
    """A folder that ``save_pretrained`` wrote, or a name on the hub; from the library's own cache where there
    is no network. Several of one training, as a list or a pattern such as ``out/checkpoint-*``: a sample's
    score is the mean over these networks."""
    task: Literal["classification", "token_classification", "causal_lm"] = "classification"
    """``classification`` of texts or pairs of texts; ``token_classification`` of words: the loss of a sample
    is the mean over its words; ``causal_lm``: that over the tokens of its completion."""
    tokenizer: Pretrained | None = None
    """By default that of the network."""
    max_length: Annotated[int, Field(ge=2)] | None = None
    """Tokens; longer texts are cut and counted. The default and upper limit is that of the network."""
    learn_prompt: bool = False
    """For ``causal_lm``: the tokens of the prompt are in the loss, too."""
    end: bool = True
    """For ``causal_lm``: the token that ends a text is added to each sample and is in its loss."""
    adapter: Location | Annotated[tuple[Location, ...], Field(min_length=1)] | None = None
    """A folder with an adapter that PEFT wrote; or several, as for ``name``."""
    lora: LoraOptions | None = None
    """New adapters: ``oga train`` then trains only them and the head, and checkpoints hold nothing else."""
    trust: bool = False
    """Run the Python code in the folder or the hub's repository (``auto_map``)."""

    needs_checkpoint: ClassVar[bool] = False

    @model_validator(mode="after")
    def _fits(self) -> "Transformers":
        if self.lora is not None and self.adapter is not None:
            raise ValueError("`lora` makes new adapters and `adapter` loads some: give one of them")
        if len(keys := self._several()) > 1 or (keys and self.checkpoint is not None):
            every = [*keys, *["checkpoint"] * (self.checkpoint is not None)]
            given = " and ".join(f"`{key}`" for key in every)
            raise ValueError(f"{given} are given, and one of them names several checkpoints")
        return self

    @property
    def returns_loss(self) -> bool:
        """True for ``causal_lm``."""
        return self.task == "causal_lm"

    @property
    def usual_loss(self) -> str:
        """``word_cross_entropy`` for ``token_classification``, ``output`` for ``causal_lm``."""
        return "word_cross_entropy" if self.task == "token_classification" else super().usual_loss

    @property
    def has_head(self) -> bool:
        """True for ``classification``."""
        return self.task == "classification"

    @property
    def partial(self) -> bool:
        """True with adapters: the other weights are in the folder."""
        return self.lora is not None or self.adapter is not None

    def prepare(self, samples: Samples) -> Samples:
        """The samples as tokens; those of a language model have no labels.

        Raises:
            ConfigError: There is no such tokenizer, or it does not give the characters of a token.
        """
        if self._several():
            return self._each()[0].source.prepare(samples)
        config, tokenizer = self._config(), self._tokenizer()
        limit = min(self._limits(config, tokenizer))
        encoder = Encoder(tokenizer, limit)
        if self.task != "classification":
            if not tokenizer.is_fast:
                raise ConfigError(
                    "this tokenizer does not give the characters of a token",
                    place="model.tokenizer",
                    found=type(tokenizer).__name__,
                    expected="a fast tokenizer, with a tokenizer.json",
                )
            encoder = (
                TagEncoder(tokenizer, limit)
                if self.task == "token_classification"
                else LanguageEncoder(tokenizer, limit, learn_prompt=self.learn_prompt, end=self.end)
            )
        reader = TokenReader(samples.reader, encoder, 1 + int(samples.positions.max()))
        if self.task != "causal_lm":
            return replace(samples, reader=reader)
        nothing, origin = torch.zeros(len(samples), 0), samples.fingerprint
        samples = replace(samples, labels=nothing, label_type=Numbers(), classes=(), truth=None)
        return replace(samples, reader=reader, origin=origin)

    def load(self, samples: Samples) -> Network:
        """The network with its checkpoint, in evaluation mode.

        Raises:
            CheckpointError: As for any network; or the head is untrained, or orders the classes otherwise.
        """
        untrained = "new adapters" if self.lora is not None else None
        if not (untrained or self.adapter or self._complete(self._config())):
            untrained = "a new head"
        if untrained and self.checkpoint is None:
            raise CheckpointError(
                f"the model has {untrained} and no checkpoint, and gradients at random weights mean nothing",
                place="model.checkpoint",
                expected="a checkpoint, or as `name` a folder with a fine-tuned network",
                hint="train one with `oga train`",
            )
        network = super().load(samples)
        self.names_classes(samples)
        return network

    def snapshots(self, samples: Samples) -> list[Snapshot]:
        """One for each folder or checkpoint."""
        return self._each(len(samples)) if self._several() else super().snapshots(samples)

    def names_classes(self, samples: Samples) -> bool:
        """By the names in the checkpoint of ``oga train``, or else by ``id2label`` of the folder.

        Raises:
            CheckpointError: The folder has these names in another order.
        """
        if self.checkpoint is not None and trained_classes(self.file()):
            return super().names_classes(samples)
        names = self._config().id2label or {}
        own = proper([str(names[i]) for i in sorted(names)])
        return same_order(own, samples.classes, f"model.name {self.name}")

    def build(self, fit: Fit) -> nn.Module:
        """The network with its adapters; the global random state determines new weights.

        Raises:
            ConfigError: There is no such network, or no such layers for adapters.
            CheckpointError: The tokenizer or the adapter does not fit the network.
        """
        import transformers

        for key in self._several():
            raise ConfigError(
                "a training starts from one network",
                place=f"model.{key}",
                found=f"{len(self._each())} folders",
                hint=f"name one of them, such as {self._each()[0].name}",
            )
        config = self._config()
        kinds = {
            "classification": transformers.AutoModelForSequenceClassification,
            "token_classification": transformers.AutoModelForTokenClassification,
            "causal_lm": transformers.AutoModelForCausalLM,
        }
        complete = self._complete(config)
        if not complete:
            config.num_labels = fit.outputs
        with telling(self._name, "network"):
            module, found = kinds[self.task].from_pretrained(
                self._name, config=config, output_loading_info=True, trust_remote_code=self.trust
            )
        fresh = set(found["missing_keys"])
        if fresh and complete:
            raise CheckpointError(
                "the folder lacks weights of the network",
                place=f"model.name {self.name}",
                found=f"no {', '.join(sorted(fresh)[:5])}",
                hint="check `task`, or save the network again",
            )
        self._check_tokenizer(module.float())
        if self.adapter is not None:
            module = load_adapter(module, str(self.adapter), fresh, trust=self.trust)
        elif self.lora is not None:
            head = set() if self.task == "causal_lm" else _head_names(module) | fresh
            add_adapters(module, self.lora)
            for name in head:
                module.get_parameter(name).requires_grad_(True)
        if self.task == "token_classification":
            return WordLogits(module)
        return TokenLosses(module) if self.returns_loss else module

    def checkpoint_files(self) -> tuple[str, ...]:
        """The weights in the folders, and the checkpoint."""
        if self._several():
            every = [file for one in self._each() for file in one.source.checkpoint_files()]
            return tuple(dict.fromkeys(every))
        own = [Path(str(one)) for one in (self.name, self.adapter) if one and Path(str(one)).is_dir()]
        found = [str(path) for folder in own for kind in _WEIGHTS for path in sorted(folder.glob(kind))]
        return (*found, *super().checkpoint_files())

    def _several(self) -> list[str]:
        """The keys that name more than one folder."""
        return [key for key in ("name", "adapter") if several(getattr(self, key))]

    def _each(self, n: int = 0) -> list[Snapshot]:
        """The model with each of several folders, in the order of their steps; each scores n samples."""
        (key,) = self._several()
        return [
            Snapshot(self.model_copy(update={key: folder}), torch.arange(n), name=folder, key=key)
            for folder in folders(getattr(self, key), key)
        ]

    # --- the content of the folder --------------------------------------------------------------------

    @property
    def _name(self) -> str:
        """The only network."""
        assert isinstance(self.name, str), "of several, take one of the snapshots"
        return self.name

    def _config(self) -> Any:
        import transformers

        refuse_code(self._name, "model.name", trust=self.trust)
        with telling(self._name, "network"):
            return transformers.AutoConfig.from_pretrained(self._name, trust_remote_code=self.trust)

    def _tokenizer(self) -> Any:
        import transformers

        name = self.tokenizer or tokenizer_folder(self._name)
        # By default some tokenizers treat a single word as the continuation of another.
        apart = {"add_prefix_space": True} if self.task == "token_classification" else {}
        refuse_code(name, "model.name" if self.tokenizer is None else "model.tokenizer", trust=self.trust)
        with telling(name, "tokenizer"):
            return transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=self.trust, **apart)

    def _limits(self, config: Any, tokenizer: Any) -> Iterator[int]:
        """The limits on the number of tokens."""
        if self.max_length is not None:
            yield self.max_length
        yield tokenizer.model_max_length
        positions = getattr(config, "max_position_embeddings", None)
        if positions is not None:
            # Positions of this family are counted from the index of padding on.
            before = 1 + (config.pad_token_id or 0) if "roberta" in config.model_type else 0
            yield positions - before

    def _check_tokenizer(self, module: Any) -> None:
        tokenizer = self._tokenizer()
        known = module.get_input_embeddings().num_embeddings
        highest = max(tokenizer.get_vocab().values(), default=-1)
        if highest >= known or highest + 1 < known * _VOCABULARY:
            raise CheckpointError(
                "the tokenizer has tokens that the network lacks"
                if highest >= known
                else "the tokenizer has far fewer tokens than the network, so it belongs to another one",
                place=f"model.tokenizer {self.tokenizer or self.name}",
                found=f"token {highest:,} as the last",
                expected=f"about {known - 1:,}, as in the network's embedding",
                hint="name the tokenizer that the network was trained with as `tokenizer`",
            )
        config = module.config
        if config.pad_token_id is None:  # some classifiers find the last token of a text by it
            config.pad_token_id = Encoder(tokenizer, 0).padding["input_ids"]

    def _complete(self, config: Any) -> bool:
        """Whether the folder holds a network with a head for the task."""
        return self.task == "causal_lm" or any(
            _HEADED[self.task] in name for name in config.architectures or ()
        )


def _head_names(module: Any) -> set[str]:
    """The parameters of a classifier that are not its pretrained encoder's."""
    encoder = getattr(module, module.base_model_prefix)
    inside = {id(parameter) for parameter in encoder.parameters()}
    return {name for name, parameter in module.named_parameters() if id(parameter) not in inside}
