"""Subjects that judge leaky and fixed versions of published packages, and innocents."""
