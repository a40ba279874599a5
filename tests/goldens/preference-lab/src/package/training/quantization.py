"""The 4-bit base of QLoRA."""

from __future__ import annotations

from typing import Any

import torch
from transformers import BitsAndBytesConfig
from tunesmith_runtime.pretrained import load_model


def load_quantized_model(name: str, revision: str, dtype: str, double_quantization: bool) -> Any:
    """Load a causal language model whose linear layers are held in NF4 and compute in ``dtype``.

    Goes to the GPU where there is one. Raises UserError where it cannot be loaded.
    """
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double_quantization,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )
    model = load_model(name, revision, dtype, quantization_config=quantization)
    for module in model.modules():
        # On some CPUs an evaluation reorders the weights for speed, and gradients that are computed
        # after it are wrong.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def keep_adapter_in_float32(model: Any) -> None:
    """Undo TRL's rounding of the adapter to bfloat16, in which small updates come to nothing."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
