"""What a board tells of itself while it works: clocks, temperatures, and the power on its rails."""
