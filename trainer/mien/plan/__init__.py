"""`mien plan`: what a recipe would need and cost on a cluster, without a GPU."""
