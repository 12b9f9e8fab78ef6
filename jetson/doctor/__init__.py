"""Is this machine ready? What is there, what is not, and the one command that mends it.

`examine` answers; it works on any machine, and no file or tool can make it fail.
"""
