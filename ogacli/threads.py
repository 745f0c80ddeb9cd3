"""How many cores torch's operations use."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Let this thread's torch operations run on one core.

    Where they are many and small, sharing them out gains a little on an idle machine, and costs ten times the
    work where other processes want the cores, or a container may use fewer than it sees.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
