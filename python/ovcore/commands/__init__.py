"""What the command line does: one file a command, each with ``add_parser`` and ``run``."""
