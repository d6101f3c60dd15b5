"""Pure arithmetic, keyword-only; each formula has shapes, unit, exactness, source and a doctest. No torch."""
