"""Networks of the library transformers: classifiers of texts, taggers of words, causal language models.

In: a folder that ``save_pretrained`` wrote, or a name on the hub; optionally adapters and a checkpoint of
``oga train``. Out: the network, and its samples as tokens.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from pydantic import BeforeValidator, Field, ValidationInfo, model_validator
from torch import Tensor, nn

from ogacli.base.options import Location, locate
from ogacli.data import Samples
from ogacli.data.label_types import Numbers
from ogacli.errors import CheckpointError, ConfigError
from ogacli.models.network import Network
from ogacli.models.sources import Fit, NetworkSource, sources
from ogacli.models.text.adapters import LoraOptions, add_adapters, load_adapter
from ogacli.models.text.remote_code import code_refused, refuse_code
from ogacli.models.text.tags import TagEncoder
from ogacli.models.text.tokens import IGNORED, Encoder, LanguageEncoder, TokenReader

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

    name: Pretrained
    """A folder that ``save_pretrained`` wrote, or a name on the hub; from the library's own cache where there
    is no network."""
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
    adapter: Location | None = None
    """A folder with an adapter that PEFT wrote."""
    lora: LoraOptions | None = None
    """New adapters: ``oga train`` then trains only them and the head, and checkpoints hold nothing else."""
    trust: bool = False
    """Run the Python code in the folder or the hub's repository (``auto_map``)."""

    needs_checkpoint: ClassVar[bool] = False

    @model_validator(mode="after")
    def _fits(self) -> "Transformers":
        if self.lora is not None and self.adapter is not None:
            raise ValueError("`lora` makes new adapters and `adapter` loads some: give one of them")
        return self

    @property
    def returns_loss(self) -> bool:
        """True for ``token_classification`` and ``causal_lm``."""
        return self.task != "classification"

    @property
    def partial(self) -> bool:
        """True with adapters: the other weights are in the folder."""
        return self.lora is not None or self.adapter is not None

    def prepare(self, samples: Samples) -> Samples:
        """The samples as tokens; those of a language model have no labels.

        Raises:
            ConfigError: There is no such tokenizer, or it does not give the characters of a token.
        """
        config, tokenizer = self._config(), self._tokenizer()
        limit = min(self._limits(config, tokenizer))
        encoder = Encoder(tokenizer, limit)
        if self.returns_loss:
            if not tokenizer.is_fast:
                raise ConfigError(
                    "this tokenizer does not give the characters of a token",
                    place="model.tokenizer",
                    found=type(tokenizer).__name__,
                    expected="a fast tokenizer, with a tokenizer.json",
                )
            encoder = (
                TagEncoder(tokenizer, limit, samples.classes)
                if self.task == "token_classification"
                else LanguageEncoder(tokenizer, limit, learn_prompt=self.learn_prompt, end=self.end)
            )
        reader = TokenReader(samples.reader, encoder, 1 + int(samples.positions.max()))
        if self.task != "causal_lm":
            return replace(samples, reader=reader)
        nothing = torch.zeros(len(samples), 0)
        return replace(samples, reader=reader, labels=nothing, label_type=Numbers(), classes=(), truth=None)

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
        self._check_classes(samples.classes)
        return network

    def build(self, fit: Fit) -> nn.Module:
        """The network with its adapters; the global random state determines new weights.

        Raises:
            ConfigError: There is no such network, or no such layers for adapters.
            CheckpointError: The tokenizer or the adapter does not fit the network.
        """
        import transformers

        config = self._config()
        kinds = {
            "classification": transformers.AutoModelForSequenceClassification,
            "token_classification": transformers.AutoModelForTokenClassification,
            "causal_lm": transformers.AutoModelForCausalLM,
        }
        complete = self._complete(config)
        if not complete:
            config.num_labels = fit.outputs
        with _telling(self.name, "network"):
            module, found = kinds[self.task].from_pretrained(
                self.name, config=config, output_loading_info=True, trust_remote_code=self.trust
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
            module = load_adapter(module, self.adapter, fresh, trust=self.trust)
        elif self.lora is not None:
            head = set() if self.task == "causal_lm" else _head_names(module) | fresh
            add_adapters(module, self.lora)
            for name in head:
                module.get_parameter(name).requires_grad_(True)
        return TokenLosses(module, ahead=self.task == "causal_lm") if self.returns_loss else module

    def checkpoint_files(self) -> tuple[str, ...]:
        """The weights in the folders, and the checkpoint."""
        folders = [Path(folder) for folder in (self.name, self.adapter) if folder and Path(folder).is_dir()]
        found = [str(path) for folder in folders for kind in _WEIGHTS for path in sorted(folder.glob(kind))]
        return (*found, *super().checkpoint_files())

    # --- the content of the folder --------------------------------------------------------------------

    def _config(self) -> Any:
        import transformers

        refuse_code(self.name, "model.name", trust=self.trust)
        with _telling(self.name, "network"):
            return transformers.AutoConfig.from_pretrained(self.name, trust_remote_code=self.trust)

    def _tokenizer(self) -> Any:
        import transformers

        name = self.tokenizer or self.name
        # By default some tokenizers treat a single word as the continuation of another.
        apart = {"add_prefix_space": True} if self.task == "token_classification" else {}
        refuse_code(name, "model.name" if self.tokenizer is None else "model.tokenizer", trust=self.trust)
        with _telling(name, "tokenizer"):
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
                hint="name the tokenizer that the network was trained with",
            )
        config = module.config
        if config.pad_token_id is None:  # some classifiers find the last token of a text by it
            config.pad_token_id = Encoder(tokenizer, 0).padding["input_ids"]

    def _complete(self, config: Any) -> bool:
        """Whether the folder holds a network with a head for the task."""
        return self.task == "causal_lm" or any(
            _HEADED[self.task] in name for name in config.architectures or ()
        )

    def _check_classes(self, classes: Sequence[str]) -> None:
        """Check that the names of classes in the folder, if any, are in the order of the data's."""
        config = self._config()
        known = self._complete(config) and bool(classes)
        own = [str(config.id2label[i]) for i in sorted(config.id2label)] if known else []
        ours, theirs = [name.casefold() for name in classes], [name.casefold() for name in own]
        if set(ours) <= set(theirs) and ours != theirs[: len(ours)]:
            raise CheckpointError(
                "the network's classes are in another order than those of the data",
                place=f"model.name {self.name}",
                found=", ".join(own),
                expected=", ".join(classes),
                hint=f"add `classes: {json.dumps(own)}` to the data section",
            )


class TokenLosses(nn.Module):
    """A network that returns the share of each token in the loss of the sample.

    The loss of a sample is the mean cross-entropy of its targets.

    Args:
        model: Returns logits for each token.
        ahead: Whether these predict the next token, as in a language model.
    """

    def __init__(self, model: nn.Module, *, ahead: bool) -> None:
        super().__init__()
        self.model = model
        self.ahead = ahead

    def forward(
        self, targets: Int64[Tensor, "b t"], **inputs: Int64[Tensor, "b t"]
    ) -> Float[Tensor, "b outputs"]:
        """The shares of all tokens, or of all but the first; 0 for a token that is no target."""
        if self.ahead:
            logits, targets = self.model(**inputs, use_cache=False).logits[:, :-1], targets[:, 1:]
        else:
            logits = self.model(**inputs).logits
        losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        return losses.view_as(targets) / (targets != IGNORED).sum(1, keepdim=True)


def _head_names(module: Any) -> set[str]:
    """The parameters of a classifier that are not its pretrained encoder's."""
    encoder = getattr(module, module.base_model_prefix)
    inside = {id(parameter) for parameter in encoder.parameters()}
    return {name for name, parameter in module.named_parameters() if id(parameter) not in inside}


@contextmanager
def _telling(name: str, noun: str) -> Iterator[None]:
    """Errors of the library as ours; its progress bars and log are switched off.

    Raises:
        ConfigError: The folder or name could not be loaded.
        CheckpointError: It names code, and the user has not set ``trust``.
    """
    import transformers

    logging: Any = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        if "trust_remote_code" in str(error):  # a name on the hub; folders are checked before
            raise code_refused("model.name", f"model.name {name}", "`auto_map` in its config") from error
        folder = Path(name).is_dir()
        raise ConfigError(
            f"no {noun} of transformers in this folder" if folder else f"no such {noun} within reach",
            place=f"model.name {name}",
            found=str(error).partition("\n")[0][:300],
            expected=f"a folder that save_pretrained wrote, with the {noun} in it"
            if folder
            else "a folder; or a name on the hub, and a network or the library's cache to have it from",
            hint=None if folder else "without a network: download it elsewhere and name its folder",
        ) from error
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
