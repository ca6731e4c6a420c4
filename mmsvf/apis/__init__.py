"""What users call on a trained model."""
