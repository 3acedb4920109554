"""Published augmentation policies: random chains of standard operations."""
