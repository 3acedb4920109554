"""Transforms of how pictures look: colour, tone, filters, strokes."""
