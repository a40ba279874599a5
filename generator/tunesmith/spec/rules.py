"""What sections may not say together. One function per rule; each yields (location, code, message)."""

from collections.abc import Iterator

from tunesmith.spec.document import Location
from tunesmith.spec.pipeline import Spec
from tunesmith.spec.train import PAIR_METHODS, REFERENCE_METHODS
from tunesmith_runtime.records import COLUMNS

Broken = tuple[Location, str, str]


def broken_rules(spec: Spec) -> Iterator[Broken]:
    """Every rule that `spec` breaks."""
    for rule in (
        _adapter_settings_fit,
        _method_settings_fit,
        _adapters_and_sharding_fit,
        _optimizer_fits,
        _distribution_settings_fit,
        _rows_fit_the_method,
        _metrics_fit,
        _tracking_settings_fit,
        _search_settings_fit,
        _splits_leave_rows,
        _answers_fit,
        _columns_differ,
        _columns_fit,
    ):
        yield from rule(spec)


def _adapter_settings_fit(spec: Spec) -> Iterator[Broken]:
    if spec.train.adapter == "full" and spec.train.lora is not None:
        yield (
            ("train", "lora"),
            "TS201",
            "train.lora has no effect with train.adapter 'full'; remove it or choose 'lora'",
        )
    if spec.train.adapter != "qlora" and spec.train.qlora is not None:
        yield (
            ("train", "qlora"),
            "TS208",
            f"train.qlora has no effect with train.adapter {spec.train.adapter!r}; remove it or choose 'qlora'",
        )
    if spec.train.lora and "lm_head" in (spec.train.lora.target_modules or []):
        yield (
            ("train", "lora", "target_modules"),
            "TS209",
            "train.lora.target_modules names lm_head, whose adapter TRL's loss would pass by; leave it out",
        )
    if spec.train.adapter == "full" and spec.hpo.lora_ranks is not None:
        yield (
            ("hpo", "lora_ranks"),
            "TS202",
            "hpo.lora_ranks has no effect with train.adapter 'full'; remove it or choose 'lora'",
        )


def _method_settings_fit(spec: Spec) -> Iterator[Broken]:
    train = spec.train
    if train.method == "sft" and train.beta is not None:
        yield (
            ("train", "beta"),
            "TS210",
            "train.beta has no effect with train.method 'sft'; remove it or choose 'dpo', 'orpo' or 'kto'",
        )
    if train.method != "sft" and train.packing:
        yield (
            ("train", "packing"),
            "TS211",
            f"train.packing is for train.method 'sft': {train.method} compares whole answers; remove it",
        )
    if train.method != "sft" and train.lora is not None and train.lora.dropout > 0:
        yield (
            ("train", "lora", "dropout"),
            "TS221",
            f"train.lora.dropout has no effect with train.method {train.method!r}, for which TRL switches dropout off; "
            "remove it",
        )
    if train.packing and train.distributed == "deepspeed-zero3":
        yield (
            ("train", "packing"),
            "TS220",
            "train.packing cannot be used with train.distributed 'deepspeed-zero3': whether the attention keeps packed rows "
            "apart is checked on whole weights; choose 'fsdp' or 'deepspeed-zero2', or remove it",
        )
    if train.method == "kto" and train.per_device_batch_size < 2:
        yield (
            ("train", "per_device_batch_size"),
            "TS212",
            "train.per_device_batch_size 1 cannot be used with train.method 'kto', which estimates how far the model has "
            "moved by swapping answers within the batch; give it at least 2",
        )


def _adapters_and_sharding_fit(spec: Spec) -> Iterator[Broken]:
    train = spec.train
    dora = train.lora is not None and train.lora.dora
    if train.adapter == "qlora" and train.distributed == "fsdp":
        reason = "FSDP2 leaves 4-bit weights whole on every GPU"
    elif train.adapter == "qlora" and train.distributed == "deepspeed-zero3":
        reason = "ZeRO-3 cannot shard 4-bit weights"
    elif train.adapter == "qlora" and train.distributed == "deepspeed-zero2" and dora:
        reason = "DoRA on 4-bit weights is known to fail under DeepSpeed"
    elif dora and train.distributed in ("fsdp", "deepspeed-zero3"):
        reason = "DoRA reads whole weights, which are sharded"
    else:
        return
    adapter = "train.lora.dora" if dora and train.adapter != "qlora" else f"train.adapter {train.adapter!r}"
    yield (
        ("train", "distributed"),
        "TS213",
        f"train.distributed {train.distributed!r} cannot be used with {adapter}: {reason}; choose 'ddp'",
    )


def _optimizer_fits(spec: Spec) -> Iterator[Broken]:
    optimizer, distributed = spec.train.optimizer, spec.train.distributed
    if optimizer != "adamw_torch_fused" and distributed not in ("none", "ddp"):
        yield (
            ("train", "optimizer"),
            "TS214",
            f"train.optimizer {optimizer!r} cannot be used with train.distributed {distributed!r}, which shards the states "
            "of 'adamw_torch_fused' alone; choose that or 'ddp'",
        )


def _distribution_settings_fit(spec: Spec) -> Iterator[Broken]:
    train = spec.train
    for key, value in (("gpus_per_node", train.gpus_per_node), ("nodes", train.nodes)):
        if train.distributed == "none" and value is not None:
            yield (
                ("train", key),
                "TS215",
                f"train.{key} has no effect with train.distributed 'none'; remove it or choose how the GPUs share the work",
            )
    if train.distributed != "none" and (train.gpus_per_node or 8) * (train.nodes or 1) < 2:
        yield (
            ("train", "gpus_per_node"),
            "TS216",
            f"train.distributed {train.distributed!r} needs two GPUs or more; raise train.gpus_per_node or train.nodes, or "
            "choose 'none'",
        )


def _rows_fit_the_method(spec: Spec) -> Iterator[Broken]:
    method = spec.train.method
    for index, source in enumerate(spec.data.sources):
        if (source.format == "preference") == (method in PAIR_METHODS):
            continue
        wanted = (
            "reads a chosen and a rejected answer; give the data format 'preference' and its columns"
            if method in PAIR_METHODS
            else "reads one answer; give the data format 'prompt-completion' and columns {completion: chosen}"
        )
        yield (
            ("data", "sources", index, "format"),
            "TS217",
            f"format {source.format!r} cannot be used with train.method {method!r}, which {wanted}, or change the method",
        )


def _metrics_fit(spec: Spec) -> Iterator[Broken]:
    for index, metric in enumerate(spec.evaluate.metrics or []):
        fitting = {"preference-accuracy": PAIR_METHODS, "reward-accuracy": REFERENCE_METHODS}.get(metric)
        if fitting is None or spec.train.method in fitting:
            continue
        lacking = "a reference model" if spec.train.method in PAIR_METHODS else "pairs of answers"
        yield (
            ("evaluate", "metrics", index),
            "TS218",
            f"evaluate.metrics names {metric}, which needs {lacking}: train.method {spec.train.method!r} has none; remove it "
            f"or choose {', '.join(map(repr, fitting[:-1]))} or {fitting[-1]!r}",
        )


def _tracking_settings_fit(spec: Spec) -> Iterator[Broken]:
    tracking = spec.tracking
    if tracking.provider == "none" and tracking.project is not None:
        yield (
            ("tracking", "project"),
            "TS219",
            "tracking.project has no effect with tracking.provider 'none'; remove it or choose 'mlflow' or 'wandb'",
        )
    if tracking.provider != "mlflow" and tracking.uri is not None:
        yield (
            ("tracking", "uri"),
            "TS219",
            f"tracking.uri has no effect with tracking.provider {tracking.provider!r}; remove it or choose 'mlflow'",
        )


def _search_settings_fit(spec: Spec) -> Iterator[Broken]:
    given = [key for key in ("trials", "learning_rate", "lora_ranks") if key in spec.hpo.model_fields_set]
    if not spec.hpo.enabled and given:
        yield (
            ("hpo", given[0]),
            "TS206",
            f"hpo.{given[0]} has no effect with hpo.enabled false; remove it or enable the search",
        )


def _splits_leave_rows(spec: Spec) -> Iterator[Broken]:
    held_out = spec.data.validation_fraction + spec.data.test_fraction
    if held_out > 0.8:
        yield (
            ("data", "test_fraction"),
            "TS203",
            f"data.validation_fraction and data.test_fraction hold out {held_out:.0%} of the rows; at most 80 % leaves "
            "enough to train on",
        )


def _answers_fit(spec: Spec) -> Iterator[Broken]:
    for section, value in (("evaluate", spec.evaluate.max_new_tokens), ("serve", spec.serve.max_new_tokens)):
        if value >= spec.model.max_length:
            yield (
                (section, "max_new_tokens"),
                "TS204",
                f"{section}.max_new_tokens {value} leaves no room for a prompt within model.max_length "
                f"{spec.model.max_length}; lower it or raise model.max_length",
            )


def _columns_differ(spec: Spec) -> Iterator[Broken]:
    for index, source in enumerate(spec.data.sources):
        read: dict[str, str] = {}
        for name in COLUMNS[source.format]:
            column = getattr(source.columns, name)
            if column in read:
                yield (
                    ("data", "sources", index, "columns"),
                    "TS205",
                    f"{read[column]} and {name} are both read from column {column!r}; name two columns",
                )
            read[column] = name


def _columns_fit(spec: Spec) -> Iterator[Broken]:
    for index, source in enumerate(spec.data.sources):
        wanted = COLUMNS[source.format]
        for column in sorted(source.columns.model_fields_set.difference(wanted)):
            yield (
                ("data", "sources", index, "columns", column),
                "TS207",
                f"columns.{column} has no effect with format {source.format!r}, which reads "
                f"{' and '.join(wanted)}; remove it or change the format",
            )
