"""Measures this machine: probes of torch whose times become a calibration. Imports torch, late."""
