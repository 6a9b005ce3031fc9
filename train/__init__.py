"""Fine-tuning, evaluation and the command line."""
