"""What records look like to people: a static site of boards and runs, and closer looks at single runs."""
