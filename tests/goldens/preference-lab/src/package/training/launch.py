"""Starts the processes of a distributed training, and knows when they are not as asked for."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from tunesmith_runtime.errors import UserError

KINDS = ("MULTI_GPU", "FSDP", "DEEPSPEED")
PRECISION = {"bfloat16": "bf16", "float16": "fp16", "float32": "no"}  # in accelerate's words


def is_launched() -> bool:
    """Whether this process is one of several that ``accelerate launch`` or torchrun started."""
    return "LOCAL_RANK" in os.environ


def launch(accelerate_config: str, module: str, arguments: Sequence[str]) -> int:
    """Run ``python -m module arguments`` once per process, as ``accelerate launch`` does.

    On several nodes, run it on each with NODE_RANK (0 on the first), MASTER_ADDR and MASTER_PORT
    set. Returns the exit code; the processes have said what went wrong.
    """
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    config = read_config(accelerate_config)
    # The processes say themselves what went wrong; the launcher's words would bury it.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    # A thread per process, as accelerate has it, leaves most of a machine without a GPU idle.
    per_node = config["num_processes"] // config["num_machines"]
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // per_node)))
    # Seconds that a stop may take: a step, a validation, saving; the launcher's own are 30.
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "3600")
    options = ["--config_file", accelerate_config]
    if config["num_machines"] > 1:
        rank, host = os.environ.get("NODE_RANK"), os.environ.get("MASTER_ADDR")
        if rank is None or host is None:
            raise UserError(
                f"train: {accelerate_config} has {config['num_machines']} machines; set NODE_RANK "
                "(0 on the first), MASTER_ADDR (the first one's name) and MASTER_PORT on each"
            )
        options += ["--machine_rank", rank, "--main_process_ip", host]
        options += ["--main_process_port", os.environ.get("MASTER_PORT", "29500")]
    else:
        options += ["--main_process_port", "0"]  # any that is free
    try:
        launch_command(
            launch_command_parser().parse_args([*options, "--module", module, *arguments])
        )
    except ChildFailedError as error:
        number, failure = error.get_first_failure()
        print(f"train: process {number} {_ending(failure.exitcode)}", file=sys.stderr)
        return int(failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode)
    except SignalException as error:
        return 128 + int(error.sigval)
    return 0


def check_machine(accelerate_config: str) -> None:
    """Raises UserError where this machine cannot run the processes of the accelerate config."""
    config = read_config(accelerate_config)
    _check_gpus(accelerate_config, config, config["num_processes"] // config["num_machines"])


def check_processes(accelerate_config: str | None, dtype: str) -> None:
    """Raises UserError where the processes that run are not those of the accelerate config.

    So it does where that computes in another precision than ``dtype``, since it would win.
    ``accelerate launch`` starts a single process, or plain DDP, where it cannot do as it was told.
    """
    from accelerate import PartialState

    wanted = read_config(accelerate_config) if accelerate_config else None
    count = wanted["num_processes"] if wanted else 1
    running = int(os.environ.get("WORLD_SIZE", "1"))
    if running != count:
        raise UserError(
            f"train: {running} processes run, and {accelerate_config or 'the config'} asks for "
            f"{count}; start it as `make train` does"
        )
    if wanted is None:
        return
    _check_gpus(str(accelerate_config), wanted, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    if str(wanted.get("mixed_precision", "no")) != PRECISION[dtype]:
        raise UserError(
            f"{accelerate_config}: mixed_precision is {wanted.get('mixed_precision')!r}, and dtype "
            f"is {dtype}; make it {PRECISION[dtype]!r}"
        )
    kind = wanted["distributed_type"]
    switch = {"FSDP": "ACCELERATE_USE_FSDP", "DEEPSPEED": "ACCELERATE_USE_DEEPSPEED"}.get(kind)
    if switch and os.environ.get(switch) != "true":
        raise UserError(f"train: the processes run without {kind}; start it as `make train` does")
    state = PartialState(cpu=wanted["use_cpu"])
    if state.num_processes != count:
        raise UserError(f"train: {state.num_processes} processes found each other, not {count}")


def check_same_checkpoint(checkpoint: str | None, directory: Path) -> None:
    """Raises UserError where the processes go on from different checkpoints."""
    from accelerate.utils import gather_object

    if len(set(gather_object([checkpoint]))) > 1:
        raise UserError(f"train: the machines see other checkpoints; {directory} has to be shared")


def _check_gpus(path: str, config: dict[str, Any], processes: int) -> None:
    import torch

    gpus = torch.cuda.device_count()
    if config["use_cpu"]:
        if config["distributed_type"] == "FSDP":
            raise UserError(f"{path}: FSDP needs GPUs, and would fall back to DDP without a word")
    elif gpus < processes:
        raise UserError(
            f"{path}: {processes} processes on this machine need a GPU each, and it has {gpus}; "
            "correct num_processes, or set train.accelerate_config to null for one process"
        )


def rank() -> int:
    """Number of this process among all of the training's; 0 where there is one."""
    return int(os.environ.get("RANK", "0"))


def read_config(path: str) -> dict[str, Any]:
    """An accelerate config. Raises UserError where it cannot be read."""
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        counts = {key: int(values[key]) for key in ("num_processes", "num_machines")}
        config = {"use_cpu": False, **values, **counts}
        kind = config["distributed_type"]
    except (OSError, yaml.YAMLError, TypeError, KeyError, ValueError) as error:
        raise UserError(f"{path}: not an accelerate config ({error!r})") from None
    if kind not in KINDS or config["num_processes"] < 2:
        raise UserError(
            f"{path}: distributed_type {kind!r} with {config['num_processes']} processes; several "
            f"of {', '.join(KINDS)} are started. For one, set train.accelerate_config to null"
        )
    return config


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name
    return f"was ended by {name}" + (", often for want of memory" if name == "SIGKILL" else "")
