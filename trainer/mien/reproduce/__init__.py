"""Whole experiments behind the tables of the README: train what is missing, score, print the table."""
