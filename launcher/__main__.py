"""`python -m launcher`."""

from launcher.cli.main import main_and_exit

if __name__ == "__main__":
    main_and_exit()
