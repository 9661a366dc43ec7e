"""Around a stage: supervision, locks, integrity, tracking, DVC's cache; decides no byte of an output."""
