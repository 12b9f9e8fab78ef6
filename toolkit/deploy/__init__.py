"""A bundle reaches a board over SSH, its engines are built there, and the board's profile comes back."""
