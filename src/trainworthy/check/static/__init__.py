"""Reading source without running it: names, values and shapes as far as they are certain. Never imports torch."""
