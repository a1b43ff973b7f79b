"""The simulated dataset: little rendered clips, and users whose tastes are planted."""
