"""The dataset, its images, and which of them train, choose and judge."""
