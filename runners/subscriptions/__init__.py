"""The subscriptions of a process's sockets, which end with their rights."""
