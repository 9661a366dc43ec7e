"""The command `predict`, under the name that it had before version 0.2."""

from lightline.__main__ import former_name

if __name__ == "__main__":
    former_name("predict")
