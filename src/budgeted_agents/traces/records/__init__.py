"""What is written down of calls and decisions: records, spans, the journal, and a ledger rebuilt from it."""
