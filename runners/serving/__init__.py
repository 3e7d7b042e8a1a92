"""How a process takes visitors in, turns them away, leaves, and what it counts."""
