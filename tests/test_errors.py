"""Errors echo bad values, but no more of them than a reader needs."""

from dal.errors import bad_value, unknown_choice


def test_long_values_keep_their_beginning_and_their_end():
    for error in (
        bad_value("x", "a number", "begin" + "-" * 200_000 + "end"),
        unknown_choice("x", ["a", "b"], "begin" + "-" * 200_000 + "end"),
    ):
        assert len(str(error)) < 400 and "got 'begin-" in str(error) and str(error).endswith("-end'.")


def test_values_of_usual_length_are_whole():
    assert str(bad_value("x", "a number", "y" * 250)) == f"x: expected a number, got '{'y' * 250}'."


def test_a_name_in_other_case_is_the_nearest():
    assert str(unknown_choice("x", ["SVHN", "MNIST", "svh"], "svhn")).endswith("got 'svhn' (did you mean SVHN?).")
