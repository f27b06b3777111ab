"""The commands of the command line: one table in `main`, one file each. Only `main` catches LauncherError and exits."""
