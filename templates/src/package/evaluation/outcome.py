"""What is known of one model on the test rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

from tunesmith_runtime.chat import Chat, Row, encode_rows, prompt_ids
from tunesmith_runtime.errors import UserError

from .answers import greedy_answers
from .likelihood import completion_loss


@dataclass
class Outcome:
    """What metrics are computed from; a model is asked for a part when a metric first reads it."""

    name: str  # base or tuned
    model: Any | None  # None once it is measured
    chat: Chat
    rows: Sequence[Row]
    batch_size: int
    max_length: int  # tokens; longer rows are left out of likelihoods
    max_new_tokens: int
    base: Self | None  # to compare with; None for the base itself
    metrics: dict[str, float] = field(default_factory=dict)

    @cached_property
    def loss(self) -> float:
        """Mean over the tokens of the answers alone, in nats.

        Raises UserError where every row is too long.
        """
        examples = [
            example
            for example in encode_rows(self.chat, self.rows)
            if len(example.input_ids) <= self.max_length
        ]
        if not examples:
            where = self.rows[0].where
            raise UserError(f"{where}: this and every test row is longer than max_length")
        model = self.loaded_model("loss")
        pad_id = self.chat.tokenizer.pad_token_id
        return completion_loss(model, examples, self.batch_size, pad_id)

    @cached_property
    def answers(self) -> list[str]:
        """The most likely answer to each row, from the prompt that a server would feed."""
        return greedy_answers(
            self.loaded_model("answers"),
            self.chat,
            [prompt_ids(self.chat.tokenizer, row.messages[:-1]) for row in self.rows],
            self.max_new_tokens,
            self.batch_size,
            f"evaluate: {self.name}",
        )

    def loaded_model(self, part: str) -> Any:
        """The model, to find a ``part`` with. Raises UserError where it is measured already."""
        if self.model is None:
            raise UserError(
                f"evaluate: no metric read the {part} of the {self.name} model before it was "
                f"unloaded; one that compares has to read model.{part} of the base, too"
            )
        return self.model

    @property
    def has_answered(self) -> bool:
        """Whether some metric read the answers."""
        return "answers" in vars(self)

    @property
    def references(self) -> list[str]:
        """What each row has for an answer; as of the answers, without any reasoning before it."""
        return [self.chat.answer(row.messages[-1]["content"]) for row in self.rows]

    @property
    def counts(self) -> dict[str, float]:
        """How much was looked at."""
        return {"examples": float(len(self.rows))}
