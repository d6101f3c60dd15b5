"""Models with the parameter counts that their papers or their best known code publish, in any width and depth."""
