"""Published models of others, from files with their own names of tensors."""
