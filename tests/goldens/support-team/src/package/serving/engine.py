"""Answers several requests at once with one transformers causal language model.

One thread owns the model. Requests join the running batch as soon as a place is free and leave it
when they are done, so a short answer never waits for a long one. Each prompt is read on its own, as
``model.generate()`` reads it; only the steps of one token each are shared. Sharing left-pads the
key-value cache, which moves the logits by rounding (about 1e-6 in float32): a greedy answer stays
that of ``generate()`` unless two tokens tie that closely. In bfloat16 such ties are common; a
``max_concurrent_requests`` of 1 gives the same bits always.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jinja2.exceptions import TemplateError
from torch.nn.functional import pad
from transformers import (
    DynamicCache,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.cache_utils import DynamicLayer
from tunesmith_runtime.base_model import unsupported_settings
from tunesmith_runtime.chat_template import control_tokens

logger = logging.getLogger("uvicorn.error")

FinishReason = Literal["stop", "length", "cancelled", "error"]


class QueueFullError(Exception):
    """There is no place left in the queue."""


@dataclass(frozen=True)
class SamplingParams:
    """What one request asks for; ``None`` means what the model's generation_config.json says."""

    max_tokens: int
    temperature: float | None = None  # 0 is greedy
    top_p: float | None = None
    top_k: int | None = None  # 0 and less are all tokens
    repetition_penalty: float | None = None  # 1 is none
    seed: int | None = None
    stop: Sequence[str] = ()


@dataclass(frozen=True)
class Delta:
    """What one more token added to an answer."""

    index: int  # which of the request's prompts
    text: str  # may be empty: half a character, or what may become a stop string, is held back
    completion_tokens: int  # so far, the end-of-turn token included
    finish_reason: FinishReason | None


class TextStream:
    """Turns tokens into pieces of text that hold no half character and no part of a stop string."""

    def __init__(self, tokenizer: Any, stop: Sequence[str]) -> None:
        self._tokenizer, self._stop = tokenizer, stop
        self._ids: list[int] = []
        self._start = self._read = 0  # where decoding restarts; up to where text has been taken
        self._held = ""
        self.stopped = False

    def push(self, token_id: int) -> str:
        """The text that is certain after this token."""
        self._ids.append(token_id)
        return self._release(self._decode(final=False), final=False)

    def finish(self) -> str:
        """What was held back and turned out to be text."""
        return self._release(self._decode(final=True), final=True)

    def _decode(self, final: bool) -> str:
        # A token's text depends on its neighbours (spaces, bytes of one character), so those of the
        # last piece are decoded again with the new ones, and their text is cut off.
        before = self._text(self._ids[self._start : self._read])
        now = self._text(self._ids[self._start :])
        if len(now) <= len(before) or (now.endswith("\N{REPLACEMENT CHARACTER}") and not final):
            return ""
        self._start, self._read = self._read, len(self._ids)
        return now[len(before) :]

    def _text(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def _release(self, text: str, final: bool) -> str:
        text = self._held + text
        if hits := [text.find(stop) for stop in self._stop if stop in text]:
            self.stopped, self._held = True, ""
            return text[: min(hits)]
        ends = () if final else (text[start:] for start in range(len(text)))
        self._held = next((end for end in ends if any(s.startswith(end) for s in self._stop)), "")
        return text.removesuffix(self._held)


@dataclass(eq=False)
class Generation:
    """One prompt being answered. ``emit`` is called from the model's thread, once for a token."""

    index: int
    prompt_ids: list[int]
    params: SamplingParams
    emit: Callable[[Delta], None]
    output_ids: list[int] = field(default_factory=list)
    cancelled: bool = False
    ended: bool = False
    text: TextStream = field(init=False)
    processors: LogitsProcessorList = field(default_factory=LogitsProcessorList)
    random: torch.Generator | None = None  # None is greedy


class Engine:
    """A model, its queue and its running batch.

    ``load`` returns (model, tokenizer) and runs in the model's thread; ``on_load_failed`` is called
    with what it raises.
    """

    def __init__(
        self,
        load: Callable[[], tuple[Any, Any]],
        on_load_failed: Callable[[Exception], None],
        max_concurrent_requests: int,
        max_queue: int,
        max_model_len: int,
    ) -> None:
        self._load, self._on_load_failed = load, on_load_failed
        self._max_concurrent_requests = max_concurrent_requests
        self.max_queue, self.max_model_len = max_queue, max_model_len
        self.ready = False
        self.waiting: deque[Generation] = deque()
        self.running: list[Generation] = []
        self._cache: Any = None
        self._mask: Any = None  # (running, cache length): 0 where a shorter request is padded
        self._unfinished = 0
        self._closed = False
        self._changed = threading.Condition()
        # A daemon, so that a load that hangs cannot keep the process alive after a signal.
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    # --- called from the server's thread ---

    def start(self) -> None:
        self._thread.start()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def close(self, timeout: float) -> None:
        """End what is still running and wait up to ``timeout`` seconds for the model's thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self.ready:
            self._thread.join(timeout)

    def encode_chat(self, messages: list[dict[str, str]]) -> list[int]:
        """The prompt for a chat.

        Raises ValueError when the chat template refuses the messages, or when one of them holds a
        control token: it would end the turn, and let a user's text speak as the system.
        """
        if self._tokenizer.chat_template is None:
            raise ValueError("this model has no chat template: use /v1/completions")
        for number, message in enumerate(messages):
            for token in self._control_tokens:
                if token in message["content"]:
                    raise ValueError(f"messages[{number}] holds the control token {token!r}")
        try:
            text = self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
        except TemplateError as error:
            raise ValueError(f"the chat template refuses these messages: {error}") from error
        return list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def encode(self, prompt: str) -> list[int]:
        """The prompt as it stands, with the tokenizer's own first token where it has one."""
        return list(self._tokenizer(prompt, verbose=False)["input_ids"])

    def submit(self, generations: list[Generation]) -> None:
        """Queue all of them, or raise QueueFullError and queue none."""
        for generation in generations:
            self._prepare(generation)
        with self._changed:
            places = self._max_concurrent_requests + self.max_queue - self._unfinished
            if len(generations) > places:
                raise QueueFullError
            self._unfinished += len(generations)
            self.waiting.extend(generations)
            self._changed.notify()

    def _prepare(self, generation: Generation) -> None:
        config, params = self._model.generation_config, generation.params
        # As in generate(), greedy unless the model's config says otherwise or the request samples.
        default = (config.temperature or 1.0) if config.do_sample or params.top_p else 0
        temperature = default if params.temperature is None else params.temperature
        top_p = config.top_p if params.top_p is None else params.top_p
        generation.text = TextStream(self._tokenizer, params.stop)
        processors = generation.processors
        if penalty := params.repetition_penalty or config.repetition_penalty:
            processors.append(RepetitionPenaltyLogitsProcessor(float(penalty)))
        if temperature > 0:
            # Dividing by less would overflow; the distribution has one token left long before.
            processors.append(TemperatureLogitsWarper(max(float(temperature), 1e-4)))
            if top_k := config.top_k if params.top_k is None else max(params.top_k, 0):
                processors.append(TopKLogitsWarper(top_k))
            if top_p is not None:
                processors.append(TopPLogitsWarper(float(top_p)))
            generation.random = torch.Generator(self._model.device)
            if params.seed is None:
                generation.random.seed()
            else:
                generation.random.manual_seed(params.seed)

    def cancel(self, generations: list[Generation]) -> None:
        """End them before their next token; those that have ended already are left as they are."""
        with self._changed:
            for generation in generations:
                generation.cancelled = True
                if generation in self.waiting:
                    self.waiting.remove(generation)
                    self._end(generation, "cancelled")

    # --- called from the model's thread ---

    def _run(self) -> None:
        try:
            self._model, self._tokenizer = self._load()
            self._control_tokens = control_tokens(self._tokenizer)
            self._check_generation_config()
            with torch.inference_mode():
                # The first pass is the slowest, and shows that the model runs. The tokenizer's
                # first call resets the truncation it was saved with; later ones only read it.
                _, cache = self._prefill(self.encode("Hello"))
        except Exception as error:
            self._on_load_failed(error)
            return
        if any(type(layer) is not DynamicLayer for layer in cache.layers):
            # Sliding windows and state-space layers keep no whole sequence that could be padded.
            logger.warning("This architecture's cache cannot be batched: one request at a time.")
            self._max_concurrent_requests = 1
        del cache
        self.ready = True
        with torch.inference_mode():
            while not self._closed:
                for generation in self._next():
                    try:
                        self._join(generation)
                    except Exception:
                        self._fail([generation])
                try:
                    self._step()
                except Exception:
                    self._fail(self.running)
                    self._keep([])
        for generation in [*self.running, *self.waiting]:
            self._end(generation, "cancelled")

    def _check_generation_config(self) -> None:
        config = self._model.generation_config
        # Served all the same, it would answer in another way than `generate()`.
        if unknown := unsupported_settings(config, "fastapi"):
            raise ValueError(f"generation_config.json: {', '.join(unknown)}: not supported here")
        eos = config.eos_token_id
        if eos is None:
            raise ValueError("generation_config.json: no eos_token_id, so no answer would end")
        self._eos = {eos} if isinstance(eos, int) else set(eos)

    def _next(self) -> list[Generation]:
        """Those that join the batch now; waits while there is nothing at all to do."""
        with self._changed:
            self._changed.wait_for(lambda: self.waiting or self.running or self._closed)
            free = self._max_concurrent_requests - len(self.running)
            return [self.waiting.popleft() for _ in range(min(free, len(self.waiting)))]

    def _prefill(self, prompt_ids: list[int]) -> tuple[Any, Any]:
        """Read one prompt: the next token's logits, (1, vocabulary), and the key-value cache."""
        ids = torch.tensor([prompt_ids], device=self._model.device)
        cache = DynamicCache(config=self._model.config)
        return self._forward(cache, input_ids=ids, attention_mask=torch.ones_like(ids)), cache

    def _forward(self, cache: Any, **inputs: Any) -> Any:
        """The next token's logits, (batch, vocabulary); the cache grows by the inputs."""
        output = self._model(**inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return output.logits[:, -1].float()

    def _join(self, generation: Generation) -> None:
        logits, cache = self._prefill(generation.prompt_ids)
        if self._advance(generation, logits):
            return
        mask = torch.ones(1, len(generation.prompt_ids), dtype=torch.long, device=logits.device)
        if self.running:
            length = max(self._mask.shape[1], mask.shape[1])
            mask = torch.cat([pad(m, (length - m.shape[1], 0)) for m in (self._mask, mask)])
            for old, new in zip(self._cache.layers, cache.layers, strict=True):
                new.keys = torch.cat([_left_pad(k, length) for k in (old.keys, new.keys)])
                new.values = torch.cat([_left_pad(v, length) for v in (old.values, new.values)])
        self._cache, self._mask = cache, mask
        self.running = [*self.running, generation]

    def _step(self) -> None:
        """One more token for every running request."""
        if not self.running:
            return
        last = torch.tensor([[g.output_ids[-1]] for g in self.running], device=self._model.device)
        self._mask = pad(self._mask, (0, 1), value=1)
        position = self._mask.sum(1, keepdim=True) - 1
        logits = self._forward(
            self._cache, input_ids=last, attention_mask=self._mask, position_ids=position
        )
        done = [self._advance(g, logits[row : row + 1]) for row, g in enumerate(self.running)]
        self._keep([row for row, is_done in enumerate(done) if not is_done])

    def _keep(self, rows: list[int]) -> None:
        """Shrink the batch to these rows, and to the longest of them."""
        if len(rows) == len(self.running):
            return
        self.running = [self.running[row] for row in rows]
        if not rows:
            self._cache = self._mask = None
            return
        index = torch.tensor(rows, device=self._mask.device)
        padding = int(self._mask[index].any(0).long().argmax())
        self._mask = self._mask[index, padding:]
        for layer in self._cache.layers:
            layer.keys = layer.keys[index, :, padding:]
            layer.values = layer.values[index, :, padding:]

    def _advance(self, generation: Generation, logits: Any) -> bool:
        """Take the next token from ``logits`` (1, vocabulary); True when the answer has ended."""
        if generation.cancelled:
            self._end(generation, "cancelled")
            return True
        try:
            token = _choose(generation, logits)
        except Exception:  # NaN logits, say: one request's, not the batch's
            self._fail([generation])
            return True
        generation.output_ids.append(token)
        ended = token in self._eos
        text = "" if ended else generation.text.push(token)
        full = len(generation.output_ids) == generation.params.max_tokens
        if (ended or full) and not generation.text.stopped:
            text += generation.text.finish()  # which may complete a stop string
        if ended or generation.text.stopped:
            self._end(generation, "stop", text)
        elif full:
            self._end(generation, "length", text)
        else:
            generation.emit(Delta(generation.index, text, len(generation.output_ids), None))
        return generation.ended

    def _end(self, generation: Generation, reason: FinishReason, text: str = "") -> None:
        with self._changed:
            if generation.ended:
                return
            generation.ended = True
            self._unfinished -= 1
        generation.emit(Delta(generation.index, text, len(generation.output_ids), reason))

    def _fail(self, generations: list[Generation]) -> None:
        logger.exception("answering %d requests failed", len(generations))
        for generation in generations:
            self._end(generation, "error")


def _choose(generation: Generation, logits: Any) -> int:
    """The next token, from ``logits`` (1, vocabulary)."""
    if generation.processors:
        ids = torch.tensor([generation.prompt_ids + generation.output_ids], device=logits.device)
        logits = generation.processors(ids, logits)
    if generation.random is None:
        return int(logits.argmax())
    return int(torch.multinomial(logits.softmax(-1), 1, generator=generation.random))


def _left_pad(states: Any, length: int) -> Any:
    """(batch, heads, tokens, width) with zeros before, up to ``length`` tokens."""
    return pad(states, (0, 0, length - states.shape[-2], 0))
