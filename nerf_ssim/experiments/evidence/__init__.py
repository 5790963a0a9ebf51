"""From finished sweeps to CSV files that stay, and from those to every table and figure of a page."""
