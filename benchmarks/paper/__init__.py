"""The paper's experiment: every branch after every layer of a frozen backbone, on tokens computed once."""
