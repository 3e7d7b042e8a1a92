"""What the sockets of a process follow, for as long as they may."""
