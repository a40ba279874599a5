"""The smoke run's base: a small model made from the repository's own text, in the place of the pretrained one."""

from typing import NamedTuple

from tunesmith.components.part import Check, Output, Part, Rendered, Setting, Settings, module
from tunesmith.spec.resolve import Resolved


class BaseShape(NamedTuple):
    """What decides the module's code."""

    pairs: bool


def part(resolved: Resolved) -> Part:
    """The module that makes it, and how."""
    pairs, package = resolved.pairs, resolved.package
    path, template = f"src/{package}/smoke/base.py", "src/package/smoke/base.py.j2"
    outputs: list[Output] = [Rendered("runtime/small_model", path, template, BaseShape(pairs))]
    settings = [
        Setting("vocab_size", 1024),
        Setting("hidden_size", 128),
        Setting("intermediate_size", 384),
        Setting("layers", 3),
        Setting("attention_heads", 4),
        Setting("attention_dropout", 0.1),
        Setting("bpe_dropout", 0.0 if pairs else 0.1, comment="share of BPE merges left out while the model reads"),
        Setting("learning_rate", 3e-3),
        Setting("steps", 600),
        Setting("batch_size", 4),
        Setting("block_length", 128, comment="tokens"),
    ]
    if pairs:
        # What learns from pairs needs a model that answers already.
        outputs.append(module("base/answering", package, "smoke/answering.py"))
        settings.append(Setting("answer_steps", 120, comment="of learning to answer, right or wrong"))
    return Part(
        outputs=tuple(outputs),
        settings=(Settings("base", tuple(settings), only_smoke=True),),
        checks=(Check("base", "base", "make_base"),),
    )
