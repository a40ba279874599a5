"""What is known of one model where rows hold a chosen and a rejected answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tunesmith_runtime.chat import Example
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.pairs import encode_pair

from .likelihood import log_probs
from .outcome import Outcome


@dataclass
class PairOutcome(Outcome):
    """An outcome that also knows how likely both answers of each pair are."""

    @cached_property
    def sides(self) -> list[Example]:
        """Chosen and rejected answers in turn, of the pairs that fit.

        Raises UserError where every pair is too long.
        """
        pairs = [encode_pair(self.chat, row) for row in self.rows]
        fitting = [p for p in pairs if max(len(side.input_ids) for side in p) <= self.max_length]
        if not fitting:
            where = self.rows[0].where
            raise UserError(f"{where}: this and every test row is longer than max_length")
        if len(fitting) < len(pairs):
            left_out = len(pairs) - len(fitting)
            print(f"evaluate: {left_out} pairs over max_length are left out", flush=True)
        return [side for pair in fitting for side in pair]

    @cached_property
    def log_probs(self) -> list[float]:
        """Log-likelihood of each side, in nats."""
        model = self.loaded_model("log_probs")
        return log_probs(model, self.sides, self.batch_size, self.chat.tokenizer.pad_token_id)

    @property
    def base_log_probs(self) -> list[float] | None:
        """The same of the base model; None for the base itself."""
        return self.base.log_probs if self.base else None

    @property
    def counts(self) -> dict[str, float]:
        """How much was looked at."""
        return {**super().counts, "pairs": len(self.sides) / 2}
