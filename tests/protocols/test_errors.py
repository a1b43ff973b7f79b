"""Error messages for a mistyped name."""

from protocols.errors import did_you_mean, nearest_names


def test_the_nearest_name_is_asked_for():
    assert str(did_you_mean("model", "sasrek", ["sasrec", "pop"])) == "unknown model 'sasrek': did you mean 'sasrec'?"
    assert "known: pop, sasrec" in str(did_you_mean("model", "xyz", ["sasrec", "pop"]))


def test_the_remedy_is_a_command_that_there_is_or_the_names():
    assert did_you_mean("model", "sasrek", ["sasrec"]).remedy == "`bench list models` shows them all"
    assert did_you_mean("column", "scroe", ["row", "score"]).remedy == "known: row, score"


def test_few_names_are_told_and_of_many_the_nearest():
    assert nearest_names("bpr", ["pop", "id", "pop"]) == "known: id, pop"
    assert nearest_names("bpr", []) == "none is known"
    many = [f"sasrec/{word}/gate" for word in ["titles", "captions", "clip", "clap", "videomae", "linkedout"]]
    told = nearest_names("sasrec/captoins/gate", many, most=2)
    assert told.startswith("nearest of 6: sasrec/captions/gate, ")
    assert told.count(",") == 1
