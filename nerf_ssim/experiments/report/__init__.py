"""Runs and fits side by side: tables and figures."""
