"""Data for the recipes: sets that ship with a dependency, and generators whose every item follows from its number."""
