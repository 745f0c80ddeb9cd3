"""Errors of the library transformers as ours, while it loads a network or a tokenizer."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ogacli.errors import ConfigError
from ogacli.models.text.folders import misplaced
from ogacli.models.text.remote_code import code_refused


@contextmanager
def telling(name: str, noun: str) -> Iterator[None]:
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
            hint=misplaced(name, noun)
            if folder
            else "without a network: download it elsewhere and name its folder",
        ) from error
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
