"""Where a file comes from, found by what DVC, git, W&B and Prefect have kept."""
