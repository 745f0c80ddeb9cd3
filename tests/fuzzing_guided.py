"""Fuzzing that is guided by coverage: ``python tests/fuzzing_guided.py TARGET [options of libFuzzer]``.

Needs the package atheris. The corpus is read, and not written.
"""

import shutil
import sys
import tempfile

import atheris

with atheris.instrument_imports(include=["ogacli", "yaml"]):
    import fuzzing


def main() -> None:
    """Fuzz one target."""
    name, *options = sys.argv[1:]
    with atheris.instrument_imports(include=["ogacli", "yaml", "tarfile", "zipfile"]):
        for content in fuzzing.seeds(name):  # imports what the target needs
            fuzzing.survives(fuzzing.TARGETS[name], content)
    corpus = tempfile.mkdtemp(prefix="oga-corpus-")
    shutil.copytree(fuzzing.CORPUS / name, corpus, dirs_exist_ok=True)
    atheris.Setup(
        [sys.argv[0], corpus, *options], lambda content: fuzzing.survives(fuzzing.TARGETS[name], content)
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
