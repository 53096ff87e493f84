"""A workflow on a cluster: submitting, following, reading and clearing up."""
