"""TRL's trainer, which on a CPU reckons the loss where a batch has answers.

Without Triton, TRL 1.16 multiplies every position, prompts and padding too, with the whole
vocabulary (``trl.trainer.utils.add_fused_lm_head``): for a real model, a third of a step.
"""

from __future__ import annotations

from typing import Any

import torch
from trl import SFTTrainer
from tunesmith_runtime.chat import IGNORED

MOST_LOGITS = 2**27  # 512 MB in float32; TRL, which works in pieces, takes what is larger


class AnswersTrainer(SFTTrainer):  # type: ignore[misc]
    """The same loss; on a CPU without the metrics that TRL reckons beside it."""

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Nats per answer token. A mixture of experts, with a second part, is left to TRL."""
        labels = inputs["labels"][:, 1:]
        # Columns of the batch in which at least one row has a token of its answer.
        columns = (labels != IGNORED).any(dim=0).nonzero().squeeze(1)
        size = labels.shape[0] * len(columns) * self.model.config.get_text_config().vocab_size
        small = self.args.device.type == "cpu" and size <= MOST_LOGITS
        if not small or return_outputs or self.aux_loss_enabled or self.args.loss_type != "nll":
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        others = {name: value for name, value in inputs.items() if name != "labels"}
        logits = model(**others, use_cache=False, logits_to_keep=columns).logits
        labels = labels[:, columns]
        answers = labels != IGNORED
        loss = torch.nn.functional.cross_entropy(
            logits[answers].float(), labels[answers], reduction="sum"
        )
        if num_items_in_batch is None:
            return loss / answers.sum().clamp(min=1)
        # Counted over all processes, whose gradients are averaged.
        return loss / num_items_in_batch * self.accelerator.num_processes
