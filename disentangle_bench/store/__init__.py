"""Results folders: files, runs, claims, status, merging. No torch here."""
