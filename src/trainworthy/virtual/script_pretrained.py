"""x."""
def install(effects):
    pass
