"""What recipes are made of: models, losses, masks, initialisation, data, search, neighbours; each on its own."""
