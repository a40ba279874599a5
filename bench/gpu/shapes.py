"""Models of published shapes with random weights, and rows of one length: what training costs, without a download.

Imported where torch is; nothing here needs a network.
"""

import json
import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WORDS = ("order", "parcel", "refund", "invoice", "delivery", "voucher", "account", "courier", "return", "payment")


@dataclass(frozen=True)
class Shape:
    """A decoder's sizes, as its published config.json gives them."""

    architecture: str  # a config class of transformers
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    tie_word_embeddings: bool

    @property
    def parameters(self) -> int:
        """All of them, without the norms, which are a ten-thousandth."""
        queries, keys = self.num_attention_heads * self.head_dim, self.num_key_value_heads * self.head_dim
        attention = self.hidden_size * (2 * queries + 2 * keys)
        layer = attention + 3 * self.hidden_size * self.intermediate_size
        embeddings = (1 if self.tie_word_embeddings else 2) * self.vocab_size * self.hidden_size
        return self.num_hidden_layers * layer + embeddings

    def flops_per_token(self, length: int, *, trains_all: bool) -> float:
        """Of a training step: forward and backward, without what activation checkpointing computes again.

        2 per weight that is multiplied with forward and 2 for the gradients of what went in; 2 more for the gradients
        of weights, where they are trained (adapters are left out, as too small). Beside them 2 × 2 × length × width
        forward per layer for attention's two products, and twice that backward, halved since attention is causal.
        Chowdhery et al., PaLM (2022), appendix B; the halving and the frozen weights are ours.
        """
        multiplied = self.parameters - (0 if self.tie_word_embeddings else self.vocab_size * self.hidden_size)
        attention = 6 * self.num_hidden_layers * self.num_attention_heads * self.head_dim * length
        return (6 if trains_all else 4) * multiplied + attention


SHAPES = {
    "qwen3-0.6b": Shape("Qwen3Config", 1024, 3072, 28, 16, 8, 128, 151_936, True),
    "qwen3-1.7b": Shape("Qwen3Config", 2048, 6144, 28, 16, 8, 128, 151_936, True),
    "qwen3-8b": Shape("Qwen3Config", 4096, 12_288, 36, 32, 8, 128, 151_936, False),
    "llama3.1-8b": Shape("LlamaConfig", 4096, 14_336, 32, 32, 8, 128, 128_256, False),
}
# The same kinds, as small as a CPU needs them.
TINY = {
    name: Shape(shape.architecture, 64, 128, 2, 4, 2, 16, 1_024, shape.tie_word_embeddings)
    for name, shape in SHAPES.items()
}


def make_model(shape: Shape, folder: Path, device: str) -> None:
    """Write weights, config, tokenizer and chat template, as `from_pretrained` takes them."""
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, GenerationConfig

    if (folder / "generation_config.json").exists():  # written last
        return
    tokenizer = make_tokenizer()
    sizes = {name: value for name, value in asdict(shape).items() if name != "architecture"}
    ids = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = getattr(transformers, shape.architecture)(**sizes, **ids, max_position_embeddings=8_192, use_cache=True)
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="4GB")
    tokenizer.save_pretrained(folder)
    GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id).save_pretrained(folder)


def make_tokenizer() -> Any:
    """A token for each byte, and those of the chat template: any text is as many tokens as it has bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(special + alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=TEMPLATE
    )


def write_rows(folder: Path, length: int, rows: dict[str, int], *, pairs: bool = False) -> None:
    """`rows` by split, each of `length` tokens; with a rejected answer of the same length where `pairs`."""
    chance = random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    around = len("<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n<|im_end|>\n") - 2 * len(
        "<|im_start|><|im_end|>"
    )
    free = length - around - 4
    question = free // 8

    def text(size: int) -> str:
        words = ""
        while len(words) < size:
            words += chance.choice(WORDS) + " "
        return words[: size - 1] + "."

    for split, count in rows.items():
        with (folder / f"{split}.jsonl").open("w", encoding="utf-8") as file:
            for number in range(count):
                user, answer = text(question), text(free - question)
                messages = [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]
                row = {"messages": messages, "source": f"{split}:{number + 1}"}
                if pairs:
                    row["rejected"] = text(free - question)
                file.write(json.dumps(row) + "\n")
