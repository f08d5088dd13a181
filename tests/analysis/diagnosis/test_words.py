import pytest

from dal.analysis.diagnosis.words import counted, listed, p_value, percent


@pytest.mark.parametrize(
    ("names", "said"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c", "d"], "a, b, c, and 1 more")],
)
def test_names_are_a_list_in_words(names, said):
    assert listed(names, most=3) == said


@pytest.mark.parametrize(
    ("p", "said"),
    [(1.0, "p = 1.00"), (0.0499, "p = 0.05"), (0.0049, "p = 0.005"), (7.6e-6, "p = 0.000008"), (0.0, "p < 0.000001")],
)
def test_p_values_have_no_exponent(p, said):
    assert p_value(p) == said


def test_large_counts_and_odd_plurals():
    assert [counted(1, "class", "classes"), counted(4950, "pair"), percent(0.002), percent(0.96)] == [
        "1 class",
        "4,950 pairs",
        "0.2 %",
        "96 %",
    ]
