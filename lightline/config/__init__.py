"""The types of params.yaml, and how it is composed and read; decides no byte of an output."""
