"""`python -m bge_cpu` is the command `bge-cpu`."""

from bge_cpu.cli import main

if __name__ == "__main__":
    main()
