"""What Lightline costs, measured side by side with a reference: one file a question, `python -m benchmarks` runs all."""
