"""The items of runners and races in the snapshots of clients that follow."""
