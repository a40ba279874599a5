"""The 4-bit base under the adapter."""

from pathlib import Path

from preference_lab.train import Config, build_trainer, prepare


def test_the_4_bit_base_computes_the_same_after_an_evaluation(
    train_config: Config, files: list[Path], tmp_path: Path
) -> None:
    tokenizer, train_set, validation = prepare(train_config, files)
    trainer = build_trainer(train_config, tokenizer, train_set.examples, validation, tmp_path / "t")
    layer = next(m for m in trainer.model.modules() if hasattr(m, "quant_state"))
    before = layer.weight.data.clone()
    trainer.evaluate()
    assert (layer.weight.data == before).all()
    trained = [p for p in trainer.model.parameters() if p.requires_grad]
    assert {str(parameter.dtype) for parameter in trained} == {"torch.float32"}
