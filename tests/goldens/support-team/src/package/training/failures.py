"""What ends a run from outside of its code, said so that one knows what to change."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from tunesmith_runtime.errors import UserError

# torch's allocator for the CPU has no exception of its own.
CPU_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory")
# What gloo and NCCL say where the process at the other end is gone.
PEER_GONE = ("closed by peer", "reset by peer", "Broken pipe", "remote process exited", "aborted")
DISK_FULL = ("No space left", "unexpected pos", "failed writing file", "file write failed")


@contextmanager
def translate_failures(directory: Path) -> Iterator[None]:
    """Turn running out of memory or disk space into a UserError; ``directory`` is the run's."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _out_of_memory(error) from None
    except (OSError, RuntimeError, SafetensorError) as error:
        text = str(error)
        if any(part in text for part in CPU_OUT_OF_MEMORY):
            raise _out_of_memory(error) from None
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or any(part in text for part in DISK_FULL):
            free = shutil.disk_usage(directory).free / 1e9
            raise UserError(
                f"train: the disk of {directory} is full ({free:.1f} GB left); free some space or "
                "lower train.watch.keep_checkpoints, and start again: the run goes on from its "
                "newest whole checkpoint"
            ) from None
        if torch.distributed.is_initialized() and any(part in text for part in PEER_GONE):
            raise UserError("train: another process of this training is gone") from None
        raise


def _out_of_memory(error: BaseException) -> UserError:
    told = (str(error).splitlines() or [type(error).__name__])[0][:160]
    return UserError(
        f"train: out of memory ({told}); halve "
        "train.per_device_batch_size and double train.gradient_accumulation_steps, switch on "
        "train.activation_checkpointing, or lower max_length. Other values begin a run of their "
        "own: choose another run_dir, or remove this one's train/"
    )
