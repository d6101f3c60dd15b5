"""Pages of the codes that rehearsals report themselves, one file each; ``inspect/`` and ``virtual/`` find them."""
