"""From a composed step to text: capture it, spell it in a backend's language, remember the result."""
