"""What a user is told who has mistyped a name."""

from protocols.errors import did_you_mean, what_there_is


def test_the_nearest_name_is_asked_for():
    assert str(did_you_mean("model", "sasrek", ["sasrec", "pop"])) == "unknown model 'sasrek': did you mean 'sasrec'?"
    assert "known: pop, sasrec" in str(did_you_mean("model", "xyz", ["sasrec", "pop"]))


def test_few_names_are_told_and_of_many_the_nearest():
    assert what_there_is("bpr", ["pop", "id", "pop"]) == "there are: id, pop"
    assert what_there_is("bpr", []) == "there are none"
    many = [f"sasrec/{word}/gate" for word in ["titles", "captions", "clip", "clap", "videomae", "linkedout"]]
    told = what_there_is("sasrec/captoins/gate", many, most=2)
    assert told.startswith("of 6 the nearest: sasrec/captions/gate, ")
    assert told.count(",") == 1
