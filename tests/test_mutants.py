"""The mutations still fit the code that they break."""

from collections import Counter

import pytest

from campaign.mutants import ROOT, places
from campaign.mutations import MUTATIONS, Mutation


def test_there_are_enough_and_each_has_its_name() -> None:
    assert len(MUTATIONS) >= 40
    assert max(Counter(one.name for one in MUTATIONS).values()) == 1


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[one.name for one in MUTATIONS])
def test_each_fits_in_one_place_and_names_its_tests(mutation: Mutation) -> None:
    assert places(mutation) == 1
    assert mutation.old != mutation.new
    for test in mutation.tests.split():
        file, _, name = test.partition("::")
        assert (ROOT / file).is_file()
        assert f"def {name}(" in (ROOT / file).read_text() if name else True
