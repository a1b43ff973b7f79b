"""Networks of the recommenders as RecBole models, trained on whole sequences or on pairs."""
