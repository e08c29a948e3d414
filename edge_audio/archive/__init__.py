"""Tagging of many recordings: worker processes, a part file to go on from, tables at the end."""
