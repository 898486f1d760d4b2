"""What to try next: operators, selection, archive and the search loop."""
