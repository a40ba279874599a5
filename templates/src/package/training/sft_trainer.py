"""TRL's trainer, which on a CPU reckons the loss from the answers' positions alone.

Without Triton, TRL 1.16 multiplies every position, prompts and padding too, with the whole
vocabulary (``trl.trainer.utils.add_fused_lm_head``): for a real model, a third of a step.
"""

from __future__ import annotations

from typing import Any

import torch
from trl import SFTTrainer
from tunesmith_runtime.chat import IGNORED


class AnswersTrainer(SFTTrainer):  # type: ignore[misc]
    """The same loss; on a CPU without TRL's entropy and token accuracy beside it."""

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Nats per answer token. A mixture of experts, with a second part, is left to TRL."""
        if self.args.device.type != "cpu" or return_outputs or self.aux_loss_enabled:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs["labels"][:, 1:]
        # Columns of the batch in which at least one row has a token of its answer.
        columns = (labels != IGNORED).any(dim=0).nonzero().squeeze(1)
        others = {name: value for name, value in inputs.items() if name != "labels"}
        logits = model(**others, use_cache=False, logits_to_keep=columns).logits
        labels = labels[:, columns]
        answers = labels != IGNORED
        loss = torch.nn.functional.cross_entropy(
            logits[answers].float(), labels[answers], reduction="sum"
        )
        if num_items_in_batch is None:
            return loss / answers.sum().clamp(min=1)
        # Of all processes, over which the gradients are averaged.
        return loss / num_items_in_batch * self.accelerator.num_processes
