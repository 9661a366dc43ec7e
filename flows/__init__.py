"""The Prefect flow and what it needs; imports only lightline.params from the library."""
