"""One recipe a file; ``trainworthy train --list`` names them."""
