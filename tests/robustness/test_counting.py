"""The number of inputs that `python -m tests.robustness` tells is that of Hypothesis."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.statistics import collector, describe_statistics


def test_inputs_are_counted_as_hypothesis_reports_them():
    spec = importlib.util.spec_from_file_location("more", Path(__file__).with_name("__main__.py"))
    assert spec is not None and spec.loader is not None
    more = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(more)
    statistics: list[dict] = []

    @settings(max_examples=7, database=None, derandomize=True)
    @given(st.integers())
    def always_holds(number: int) -> None:
        assert number == number

    with collector.with_value(statistics.append):
        always_holds()
    assert more.inputs_in(describe_statistics(statistics[0])) == 7
