"""Predictions and scores of finished networks, and previews."""
