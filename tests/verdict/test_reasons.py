import numpy as np

from ogacli.verdict.reasons import PICTURES, REASONS, reasons


def told(differs, confidence, probability, duplicate=False, blank=False, picture="") -> str:
    values = (differs, confidence, probability, duplicate, blank, PICTURES.index(picture))
    columns = [np.array([value]) for value in values]
    return REASONS[int(reasons(*columns)[0])]


def test_another_class_far_more_probable():
    assert told(True, 0.9, 0.05) == "mislabelled"
    assert told(True, 0.4, 0.1) == "mislabelled", "a cautious model may be sure enough"


def test_two_classes_about_as_probable():
    assert told(True, 0.5, 0.4) == "ambiguous"
    assert told(False, 0.5, 0.5) == "ambiguous"


def test_the_given_label_is_predicted():
    assert told(False, np.nan, 0.95) == "atypical"


def test_without_classes():
    assert told(False, np.nan, np.nan) == "atypical"


def test_what_is_certain_comes_before_what_is_probable():
    assert told(True, 0.9, 0.05, duplicate=True) == "duplicate"
    assert told(False, np.nan, 0.95, duplicate=True, blank=True) == "corrupt"


def test_a_poor_picture_explains_what_no_other_class_does():
    assert told(False, np.nan, 0.95, picture="dark") == "dark"
    assert told(True, 0.5, 0.4, picture="blurred") == "blurred", "else ambiguous"
    assert told(True, 0.9, 0.05, picture="bright") == "mislabelled"
    assert told(False, np.nan, 0.95, duplicate=True, picture="bright") == "duplicate"
    assert told(False, np.nan, 0.95, picture="blank") == "atypical", "values decide what is corrupt"
