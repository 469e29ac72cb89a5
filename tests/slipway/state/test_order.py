"""What is needed comes first, in any order it is given in, and in a circle nothing is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slipway.state.integrity import in_order

SIZE = 12


@given(st.permutations(range(SIZE)), st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(0, SIZE - 1))))
def test_what_is_needed_comes_first(given_order: list[int], pairs: list[tuple[int, int]]) -> None:
    needed = {key: [low for low, high in pairs if high == key and low < high] for key in range(SIZE)}
    order = list(in_order(given_order, needed.__getitem__))
    assert sorted(order) == list(range(SIZE))
    for key, others in needed.items():
        assert all(order.index(other) < order.index(key) for other in others)


def test_where_nothing_is_needed_it_stays_as_it_was() -> None:
    assert list(in_order(["c", "a", "b"], lambda _: ())) == ["c", "a", "b"]


def test_a_circle_loses_nothing() -> None:
    needs = {"a": ["b"], "b": ["c"], "c": ["a", "not there"]}
    assert sorted(in_order(needs, needs.__getitem__)) == ["a", "b", "c"]
