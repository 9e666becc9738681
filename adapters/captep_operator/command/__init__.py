"""The command line of an operator: flags, worlds from files, output."""
