"""What runners decide about who sees and follows them."""
