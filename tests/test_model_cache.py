"""Models that tests fetch: whole or not there, and missed aloud."""

import sys
from pathlib import Path

import pytest

import real_models


def test_a_model_that_was_half_made_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real_models, "MODELS", tmp_path / "models")

    def half(place: Path, output: Path) -> None:
        output.mkdir()
        (output / "config.json").write_text("{")
        raise KeyboardInterrupt

    def whole(place: Path, output: Path) -> None:
        output.mkdir()
        (output / "config.json").write_text("{}")

    with pytest.raises(KeyboardInterrupt):
        real_models.made("model", half)
    assert list((tmp_path / "models").iterdir()) == []
    assert (real_models.made("model", whole) / "config.json").read_text() == "{}"
    # And is there from now on.
    assert (real_models.made("model", half) / "config.json").read_text() == "{}"


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_a_package_that_is_not_to_be_had_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    """In CI the test fails, elsewhere it is skipped."""
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match=r"some-model==1 is not to be had: \['no network'\]"):
        real_models.fetch([sys.executable, "-c", "import sys; sys.exit('no network')", "some-model==1"], tmp_path)
