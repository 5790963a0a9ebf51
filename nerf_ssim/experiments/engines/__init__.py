"""What carries a sweep's runs out: processes of this machine, or a Ray cluster."""
