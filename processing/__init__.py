"""Reads what to extract, writes prompts and turns the answers of the model into records."""
