"""One file a rule; see ``trainworthy.check.rule``."""
