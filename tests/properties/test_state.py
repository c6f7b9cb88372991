"""State: flatten and describe lose nothing, rebuild undoes them."""

from __future__ import annotations

import json

import torch
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from morelli.numerics.state import State

names = st.text(st.characters(codec="utf-8", exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=6)
tensors = st.lists(st.floats(-9, 9), max_size=4).map(torch.tensor)
settings = st.dictionaries(names, st.one_of(st.integers(), st.text(), st.booleans(), st.none()), max_size=3)


def states(parts: st.SearchStrategy[State]) -> st.SearchStrategy[State]:
    return st.builds(State, settings, st.dictionaries(names, tensors, max_size=3), st.dictionaries(names, parts))


nested = st.recursive(states(st.nothing()), lambda inner: states(inner), max_leaves=5)


def assert_same(one: State, other: State) -> None:
    assert one.settings == other.settings
    assert one.tensors.keys() == other.tensors.keys()
    assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)
    assert one.parts.keys() == other.parts.keys()
    for name in one.parts:
        assert_same(one.parts[name], other.parts[name])


def count(state: State) -> int:
    return len(state.tensors) + sum(count(part) for part in state.parts.values())


@examples(suppress_health_check=[HealthCheck.filter_too_much])  # deep ones with too many leaves are drawn again
@given(nested)
def test_round_trip(state: State) -> None:
    flat = state.flatten()
    assert len(flat) == count(state)
    assert_same(State.rebuild(json.loads(json.dumps(state.describe())), flat), state)


def test_names_that_begin_alike_stay_apart() -> None:
    inner = {name: State({"name": name}, {"x": torch.tensor(float(i))}) for i, name in enumerate(["a", "ab", "a b"])}
    state = State({}, {"a": torch.tensor(9.0)}, inner)
    assert_same(State.rebuild(state.describe(), state.flatten()), state)
