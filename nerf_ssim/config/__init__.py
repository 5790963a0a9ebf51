"""How an option is declared, parsed, checked and written back, and the option groups that every run has."""
