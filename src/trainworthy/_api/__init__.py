"""The Python API: each name of ``trainworthy.__all__`` lives in a file here or is re-exported."""
