from mailwarren.sender import smtp


def test_all_that_is_promised_is_there_and_sorted():
    assert all(hasattr(smtp, name) for name in smtp.__all__)
    assert len(set(smtp.__all__)) == len(smtp.__all__)
