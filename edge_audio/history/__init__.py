"""What was heard in months: events and loudness in one SQLite file."""
