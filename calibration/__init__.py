"""What held-out data teaches a bundle: what each exit is worth, and how sure it may be."""
