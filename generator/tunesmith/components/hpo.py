"""Search: an Optuna study over the learning rate and, for adapters, the rank."""

from typing import NamedTuple

from tunesmith.components.part import Check, Part, Rendered, Setting, Settings, Stage, Verbatim
from tunesmith.spec.resolve import Resolved


class HpoShape(NamedTuple):
    """What decides the search stage's code.

    Attributes:
        distributed: Whether the training that is searched for is several processes.
        sharded: Whether it spreads one model over several GPUs.
    """

    package: str
    lora: bool
    distributed: bool
    sharded: bool


def part(resolved: Resolved) -> Part:
    """The stage's script, guide and tests, where the spec asks for a search."""
    if not resolved.hpo.enabled:
        return Part()
    shape = HpoShape(resolved.package, resolved.adapts, resolved.is_distributed, resolved.is_sharded)
    return Part(
        outputs=(
            Rendered("hpo/script", f"src/{shape.package}/hpo.py", "src/package/hpo.py.j2", shape),
            Rendered("hpo/guide", "docs/hpo.md", "docs/hpo.md.j2", shape),
            Rendered("hpo/tests", "tests/test_hpo.py", "tests/test_hpo.py.j2", shape),
        ),
        requirements=("optuna",),
        untyped=("optuna",),
        stages=(
            Stage(
                "hpo",
                "search the learning rate" + (" and the LoRA rank" if shape.lora else ""),
                reads=Verbatim("`runs/default/data/`"),
                writes=Verbatim("`runs/default/hpo/`, with `best.yaml` for `train`"),
                uses_one_gpu=True,
                resumes=True,
            ),
        ),
        settings=(Settings("hpo", _settings(resolved)),),
        checks=(Check("hpo"),),
    )


def _settings(resolved: Resolved) -> tuple[Setting, ...]:
    bounds = resolved.hpo.learning_rate
    settings = [
        Setting("trials", resolved.hpo.trials, smoke=2),
        Setting("epochs", 1.0, comment="of one trial"),
        Setting(
            "max_steps",
            -1,
            smoke=12,
            comment="of one trial; -1: as many as the epochs take",
            smoke_comment="of one trial",
        ),
        Setting("eval_every", 0.25, smoke=0.5, comment="of all steps; each is a chance to give the trial up"),
        Setting(
            "learning_rate",
            [bounds.low, bounds.high],
            smoke=[1e-3, 2e-2] if resolved.adapts else [5e-4, 6e-3],
            comment="searched on a log scale",
        ),
    ]
    if resolved.adapts:
        settings.append(Setting("lora_rank", resolved.hpo.lora_ranks, smoke=[8, 16]))
    return tuple(settings)
