"""What of the benchmark is to run, from words."""

from __future__ import annotations

import pytest

from bench.results import DEFAULT_PAIRS, Choice, Operation, Size, first_of, parse
from slipway.errors import ConfigurationError


def test_without_words_everything_runs() -> None:
    choice = parse("", "", "")
    assert [str(size) for size in choice.sizes] == ["2", "10", "50", "200", "5 real"]
    assert choice.operations == tuple(Operation)
    assert choice.pairs == DEFAULT_PAIRS >= 5


def test_some_are_chosen_and_operations_keep_their_order() -> None:
    choice = parse("50 2 50 real", "one unchanged", "7")
    assert choice == Choice((Size(50), Size(2), Size(5, real=True)), (Operation.UNCHANGED, Operation.ONE), 7)


@pytest.mark.parametrize(
    ("sizes", "operations", "pairs", "met", "allowed"),
    [
        ("0", "", "", "'0'", "1 to 500"),
        ("501", "", "", "'501'", "1 to 500"),
        ("2,10", "", "", "'2,10'", "`real`"),
        ("\u0662", "", "", "\u0662", "1 to 500"),
        ("", "unchaged", "", "'unchaged'", "Did you mean unchanged?"),
        ("", "", "0", "'0'", "numbers from 1"),
        ("", "", "many", "'many'", "numbers from 1"),
    ],
)
def test_other_words_are_refused(sizes: str, operations: str, pairs: str, met: str, allowed: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse(sizes, operations, pairs)
    assert met in raised.value.what
    assert allowed in raised.value.why
    assert raised.value.code == 2


@pytest.mark.parametrize("size", [Size(2), Size(200), Size(5, real=True)], ids=str)
def test_a_size_is_read_as_it_is_written(size: Size) -> None:
    assert Size.parse(str(size)) == size


def test_the_history_is_timed_at_the_smallest_size_without_replicas() -> None:
    assert first_of([Size(5, real=True), Size(50), Size(10)]) == Size(10)
    assert first_of([Size(5, real=True)]) == Size(5, real=True)
