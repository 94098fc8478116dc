"""What governs the calls made here, and what becomes of a refusal."""
