"""Files in which people get questions and give answers."""
