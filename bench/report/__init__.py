"""Pages: a static site of boards and runs, sheets of examples, explanations of single runs."""
