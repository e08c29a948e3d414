"""Small things that every stage uses: whole files, texts, secrets, waiting."""
