"""``oga`` in several processes that share one command, as ``torchrun`` starts them.

In: the number of ranks and the arguments. Out: how each of them ended.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from torch.distributed import TCPStore

from command_line import Done, Started, ended, started

SAME = ("scores.parquet", "summary.json", "provenance.json", "beside.parquet", "gradient_map.parquet")
"""The files of a run that do not depend on the number of ranks."""


def together(
    count: int,
    *arguments: object,
    cwd: Path,
    meanwhile: Callable[[Sequence[Started]], None] = lambda ranks: None,
) -> list[Done]:
    """Run a command to its end.

    Args:
        count: How many ranks.
        arguments: Of the command.
        cwd: Where it runs.
        meanwhile: Called with the processes, once they are started.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    env = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    ranks = [
        started(*arguments, cwd=cwd, env=env | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(count)
    ]
    meanwhile(ranks)
    return [ended(one) for one in ranks]
