"""What a message means for the ledger: pure functions, with time and stored rows as arguments."""
