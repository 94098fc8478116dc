"""What calls of any trace cost: a fold that can be merged, over files read by several processes."""
