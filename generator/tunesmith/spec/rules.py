"""What sections may not say together. One function per rule; each yields (location, code, message)."""

from collections.abc import Iterator

from tunesmith.spec.document import Location
from tunesmith.spec.pipeline import Spec

Broken = tuple[Location, str, str]


def broken_rules(spec: Spec) -> Iterator[Broken]:
    """Every rule that `spec` breaks."""
    for rule in (
        _adapter_settings_fit,
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
    if spec.train.adapter == "full" and spec.hpo.lora_ranks is not None:
        yield (
            ("hpo", "lora_ranks"),
            "TS202",
            "hpo.lora_ranks has no effect with train.adapter 'full'; remove it or choose 'lora'",
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
        if source.format == "prompt-completion" and source.columns.prompt == source.columns.completion:
            yield (
                ("data", "sources", index, "columns"),
                "TS205",
                f"prompt and completion are both read from column {source.columns.prompt!r}; name two columns",
            )


def _columns_fit(spec: Spec) -> Iterator[Broken]:
    for index, source in enumerate(spec.data.sources):
        wanted = {"messages"} if source.format == "messages" else {"prompt", "completion"}
        for column in sorted(source.columns.model_fields_set - wanted):
            yield (
                ("data", "sources", index, "columns", column),
                "TS207",
                f"columns.{column} has no effect with format {source.format!r}, which reads "
                f"{' and '.join(sorted(wanted))}; remove it or change the format",
            )
