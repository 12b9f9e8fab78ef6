"""Power modes: which there are, which holds, how to change it and how to notice that somebody did."""
