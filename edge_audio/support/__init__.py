"""Small things that every stage uses: whole files, text, slugs, secrets, locks, pauses."""
