"""Many ranks: real gloo processes, virtual ranks, and what both must agree on."""
