"""Reading, splitting, ordering and batching of data; deterministic by seed."""
