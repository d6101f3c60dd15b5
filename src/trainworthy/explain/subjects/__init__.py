"""One file a subject, or a small family; a file is found by being here."""
