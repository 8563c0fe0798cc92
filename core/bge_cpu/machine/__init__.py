"""What this computer is: its CPUs, its memory, what a container leaves of both, and child processes."""
