"""The paper's study, on the built-in zoo."""
