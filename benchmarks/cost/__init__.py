"""What cutting costs, and what a user would run instead: one module per benchmark, one table each."""
