"""The tables and figures of the paper: the runs that each is made of, and how it is drawn."""
