"""What a worker can do, a file each: `perform(plan, rank, heartbeat)` gives what rank 0 reports."""
