"""Encoders given to others: as an object for any Python program, and as folders of files."""
