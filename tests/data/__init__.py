"""Tests of mien.data."""
