"""The nouns: no input, no output, no clock."""
