"""DVC in a process of its own, which the flow talks to."""
