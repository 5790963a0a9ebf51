"""Runs that answer a question together, and the tables and figures made of their logs."""
