"""What finished networks are worth: predictions, scores, reports."""
