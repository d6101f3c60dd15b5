from trainworthy.check.static.words import says_changed, words_of


def test_words_have_their_shortest_usual_form() -> None:
    assert words_of("binned_indices") == words_of("binned_idx") == ["binned", "idx"]
    assert words_of("population2") == ["population", "2"]


def test_a_changed_value_is_called_after_what_it_was_made_of() -> None:
    assert says_changed("population2", "population")
    assert says_changed("new_mask", "mask")
    assert says_changed("binned_indices", "binned_idx")
    assert not says_changed("x_mean", "x")
    assert not says_changed("mask_mean", "mask")
    assert not says_changed("mask", "scores")
